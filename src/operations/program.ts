/**
 * Runs a program to its end, as another account if need be, with a time limit.
 * Long-running children (the PostgreSQL server) are started by `local-postgres.ts` itself.
 */

import { spawn } from "node:child_process";

/** More output than this is cut at the front: the reason of a failure stands at the end. */
const OUTPUT_CHARACTERS_MAX = 20_000;

/** An account to run as. Only root may name another than its own. */
export type Account = { name: string; userId: number; groupId: number };

export type ProgramOptions = {
  timeoutMs: number;
  account?: Account;
  directory?: string;
  stdin?: string;
};

/** What came of it. `output` holds stdout and stderr as they came. */
export type ProgramOutcome = { exitCode: number; output: string };

/**
 * The environment for PostgreSQL's programs: nothing inherited, because `PGDATA`, `PGOPTIONS` or
 * a locale that is not installed would change what they do.
 */
export const programEnvironment = { LC_ALL: "C", PATH: "/usr/bin:/bin:/usr/sbin:/sbin" };

/** Never throws: a program that cannot be started, or takes too long, has exit code -1. */
export function runProgram(
  file: string,
  programArguments: string[],
  options: ProgramOptions,
): Promise<ProgramOutcome> {
  return new Promise((resolve) => {
    let output = "";
    const collect = (chunk: Buffer) => {
      output = (output + chunk.toString("utf8")).slice(-OUTPUT_CHARACTERS_MAX);
    };
    const finish = (exitCode: number, reason = "") => {
      clearTimeout(timer);
      resolve({ exitCode, output: output + reason });
    };
    const child = spawn(file, programArguments, {
      cwd: options.directory ?? "/",
      env: programEnvironment,
      stdio: ["pipe", "pipe", "pipe"],
      ...(options.account ? { uid: options.account.userId, gid: options.account.groupId } : {}),
    });
    const timer = setTimeout(() => {
      child.kill("SIGKILL");
      finish(-1, `${file} took longer than ${options.timeoutMs / 1000} s`);
    }, options.timeoutMs);
    child.stdout.on("data", collect);
    child.stderr.on("data", collect);
    child.on("error", (error) => finish(-1, error.message));
    child.on("close", (code) => finish(code ?? -1));
    // A program that ends without reading its input closes the pipe; its exit code tells more.
    child.stdin.on("error", () => undefined);
    child.stdin.end(options.stdin ?? "");
  });
}

/**
 * `initdb` and `postgres` refuse to run as root, so root lends them an account that may do
 * nothing else. Everybody else runs them as themselves (undefined).
 */
export async function findUnprivilegedAccount(): Promise<Account | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  for (const name of ["postgres", "nobody"]) {
    const userId = await askId("-u", name);
    const groupId = await askId("-g", name);
    if (userId && groupId) return { name, userId, groupId };
  }
  return undefined;
}

async function askId(flag: "-u" | "-g", name: string): Promise<number | undefined> {
  const answer = await runProgram("id", [flag, name], { timeoutMs: 10_000 });
  return answer.exitCode === 0 ? parseInt(answer.output, 10) : undefined;
}
