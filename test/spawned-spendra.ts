/** Runs the program as its users do: a process and an environment of its own. */

import { join } from "node:path";

const root = join(import.meta.dir, "..");

/** The command as it stands in the sources. */
export const sourceCommand = [process.execPath, join(root, "src", "main.ts")];

/** A process and what it has said so far. */
export type SpawnedSpendra = {
  readonly stdout: () => string;
  readonly stderr: () => string;
  /** Resolves when `stream` has said something that matches; rejects when it ends without. */
  saying(stream: "stdout" | "stderr", pattern: RegExp): Promise<void>;
  readonly exited: Promise<number>;
  kill(signal: NodeJS.Signals): void;
};

/** Nothing of this process's environment is handed on, but for where programs are found. */
export function spawnSpendra(
  programArguments: readonly string[],
  environment: Record<string, string> = {},
  command: { program: readonly string[]; directory: string } = {
    program: sourceCommand,
    directory: root,
  },
): SpawnedSpendra {
  const child = Bun.spawn([...command.program, ...programArguments], {
    cwd: command.directory,
    env: { PATH: process.env["PATH"] ?? "/usr/bin:/bin", ...environment },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const stdout = listen(child.stdout);
  const stderr = listen(child.stderr);
  return {
    stdout: () => stdout.text,
    stderr: () => stderr.text,
    saying: async (stream, pattern) => {
      if (await (stream === "stdout" ? stdout : stderr).says(pattern)) return;
      await stderr.ended;
      throw new Error(`it ended without ${pattern}:\n${stdout.text}\n${stderr.text}`);
    },
    exited: Promise.all([child.exited, stdout.ended, stderr.ended]).then(([code]) => code),
    kill: (signal) => child.kill(signal),
  };
}

function listen(stream: ReadableStream<Uint8Array>) {
  const heard = { text: "", hasEnded: false };
  let change = Promise.withResolvers<void>();
  const announce = () => {
    change.resolve();
    change = Promise.withResolvers<void>();
  };
  async function readAll(): Promise<void> {
    const decoder = new TextDecoder();
    for await (const piece of stream) {
      heard.text += decoder.decode(piece, { stream: true });
      announce();
    }
    heard.hasEnded = true;
    announce();
  }
  const ended = readAll();
  return {
    get text() {
      return heard.text;
    },
    ended,
    async says(pattern: RegExp): Promise<boolean> {
      while (!pattern.test(heard.text) && !heard.hasEnded) {
        await change.promise;
      }
      return pattern.test(heard.text);
    },
  };
}
