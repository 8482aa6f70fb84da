/**
 * Bun makes 256 requests at once and lets the others wait, holding budget, unless a variable says
 * otherwise when the process starts. So `serve` replaces itself once by itself with the variable
 * set: the same process id, about 10 ms.
 */
import { env, execPath, execve } from "node:process";

const VARIABLE = "BUN_CONFIG_MAX_HTTP_REQUESTS";
/** The most that Bun takes; memory and descriptors are bounded by other limits. */
const REQUESTS_MAX = "65535";
const COMPILED_PREFIX = "/$bunfs/";

/** Returns when the limit is raised; otherwise starts the program anew and does not return. */
export function raiseHttpLimit(): void {
  if (env[VARIABLE] !== undefined || execve === undefined) {
    return;
  }
  const isCompiled = Bun.main.startsWith(COMPILED_PREFIX);
  const args = process.argv.slice(isCompiled ? 2 : 1);
  execve(execPath, [execPath, ...args], { ...env, [VARIABLE]: REQUESTS_MAX });
}
