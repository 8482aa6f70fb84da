/** Programs of others: where they come from. Installed in the system's temporary directory. */
import { mkdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Program } from "./server.ts";

export type StartedPeer = {
  program: Program;
  /** What a request to it needs. */
  headers: Record<string, string>;
};

const INSTALL_TIMEOUT_MS = 400_000;

/**
 * Runs an installer with the directory to fill, unless an earlier run did it to its end: a
 * file says so, and an installation that was broken off begins anew.
 */
export async function installOnce(
  name: string,
  install: (directory: string) => readonly (readonly string[])[],
): Promise<string> {
  const directory = join(tmpdir(), "spendra-bench-peers", name);
  if (await Bun.file(join(directory, "installed")).exists()) {
    return directory;
  }
  await rm(directory, { recursive: true, force: true });
  await mkdir(directory, { recursive: true });
  for (const command of install(directory)) {
    const child = Bun.spawn([...command], {
      cwd: directory,
      stdout: "ignore",
      stderr: "ignore",
      timeout: INSTALL_TIMEOUT_MS,
    });
    if ((await child.exited) !== 0) {
      throw new Error(`could not be installed: ${command.slice(0, 3).join(" ")} failed`);
    }
  }
  await Bun.write(join(directory, "installed"), "");
  return directory;
}

/** The path of a program, or a reason to skip what needs it. */
export function requireProgram(name: string): string {
  const path = Bun.which(name);
  if (path === null) {
    throw new Error(`it needs ${name}, which is not installed`);
  }
  return path;
}
