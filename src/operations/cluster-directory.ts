/**
 * The directory of a private PostgreSQL cluster: who owns it, whether it outlives the process,
 * and how leftovers of killed processes are found and removed.
 *
 *   <directory>/data        the cluster itself
 *   <directory>/password    of the role `spendra`
 *   <directory>/server.log  what the server said
 *   <directory>/owner       host name and process id; temporary directories only
 */

import { chmod, chown, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { LocalPostgresError } from "./local-postgres-error.ts";
import { type Account, runProgram } from "./program.ts";

const TEMPORARY_PREFIX = "spendra-postgres-";
const LEFTOVERS_MAX = 100;
const ACCESS_TIMEOUT_MS = 10_000;

export type ClusterDirectory = { path: string; isTemporary: boolean };

/**
 * Makes (or takes over) the cluster's directory, private to the account that runs PostgreSQL.
 *
 * @throws {LocalPostgresError} when that account cannot get at it.
 */
export async function openClusterDirectory(
  wanted: string | undefined,
  account: Account | undefined,
): Promise<ClusterDirectory> {
  if (wanted !== undefined) {
    await mkdir(wanted, { recursive: true });
    if (await claim(wanted, account)) return { path: wanted, isTemporary: false };
    throw new LocalPostgresError(`${account?.name ?? "This account"} cannot write to ${wanted}`);
  }
  // A private TMPDIR may be closed to the account that root lends.
  for (const parent of new Set([tmpdir(), "/tmp", "/var/tmp"])) {
    await removeLeftovers(parent);
    const path = await mkdtemp(join(parent, TEMPORARY_PREFIX)).catch(() => undefined);
    if (path === undefined) continue;
    if (await claim(path, account)) {
      await writeFile(join(path, "owner"), `${hostname()} ${process.pid}`);
      return { path, isTemporary: true };
    }
    await rm(path, { recursive: true, force: true });
  }
  throw new LocalPostgresError(`No temporary directory can be written to; tried ${tmpdir()}`);
}

async function claim(path: string, account: Account | undefined): Promise<boolean> {
  if (account) await chown(path, account.userId, account.groupId);
  // PostgreSQL insists on 0700 for the data; the directory holds the password as well.
  await chmod(path, 0o700).catch(() => undefined);
  const probe = 'cd "$1" && : >.probe && rm .probe';
  const outcome = await runProgram("/bin/sh", ["-c", probe, "sh", path], {
    timeoutMs: ACCESS_TIMEOUT_MS,
    ...(account ? { account } : {}),
  });
  return outcome.exitCode === 0;
}

/**
 * Removes clusters whose owner and whose server are both gone. The watcher (see
 * `local-postgres.ts`) does this at once; here are only those whose watcher was killed as well.
 * Another host name means another container that shares this directory: hands off.
 */
async function removeLeftovers(parent: string): Promise<void> {
  const entries = await readdir(parent).catch((): string[] => []);
  const leftovers = entries.filter((entry) => entry.startsWith(TEMPORARY_PREFIX));
  for (const entry of leftovers.slice(0, LEFTOVERS_MAX)) {
    const path = join(parent, entry);
    const owner = await readFile(join(path, "owner"), "utf8").catch(() => "");
    const [host, ownerId] = owner.split(" ");
    if (host !== hostname() || isAlive(ownerId)) continue;
    if (isAlive(await readServerProcessId(path))) continue;
    await rm(path, { recursive: true, force: true }).catch(() => undefined);
  }
}

/** The server's process id as its own lock file gives it; undefined when none runs. */
async function readServerProcessId(path: string): Promise<string | undefined> {
  const lock = await readFile(join(path, "data", "postmaster.pid"), "utf8").catch(() => "");
  return lock.split("\n")[0] || undefined;
}

function isAlive(processId: string | undefined): boolean {
  if (processId === undefined) return false;
  try {
    process.kill(parseInt(processId, 10), 0);
    return true;
  } catch (error) {
    // EPERM: it lives, under another account.
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}
