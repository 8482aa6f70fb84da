/**
 * Which node this is, over restarts: an id in the state directory, beside the spool. One process at
 * a time may have the directory; a second one would empty the first one's spool.
 */
import { open, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { isId, newId } from "../id.ts";

const ID_NAME = "node-id";
const LOCK_NAME = "lock";

/** Another process works in the state directory. */
export class StateDirectoryInUseError extends Error {
  override readonly name = "StateDirectoryInUseError";

  constructor(path: string, processId: number) {
    super(
      `SPENDRA_STATE_DIR ${path} is in use by process ${processId}: stop it, or give this node ` +
        "a state directory of its own",
    );
  }
}

export type NodeIdentity = {
  readonly nodeId: string;
  /** Gives the directory to the next process. */
  release(): Promise<void>;
};

/** Takes the directory and answers its id. Throws `StateDirectoryInUseError`. */
export async function claimNodeIdentity(path: string, now: Date): Promise<NodeIdentity> {
  const lockPath = join(path, LOCK_NAME);
  await claimLock(path, lockPath);
  const nodeId = await readOrMakeId(join(path, ID_NAME), now);
  return { nodeId, release: () => rm(lockPath, { force: true }) };
}

async function claimLock(path: string, lockPath: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      const lock = await open(lockPath, "wx", 0o600);
      await lock.writeFile(`${process.pid} ${(await startOf(process.pid)) ?? ""}`);
      await lock.close();
      return;
    } catch (error) {
      const [processId, startedAt] = await readLock(lockPath);
      if (attempt > 1 || (await isAlive(processId, startedAt))) {
        throw processId > 0 ? new StateDirectoryInUseError(path, processId) : error;
      }
      // Left by a process that was killed.
      await rm(lockPath, { force: true });
    }
  }
}

async function readLock(lockPath: string): Promise<[number, string | undefined]> {
  const [processId, startedAt] = (await readFile(lockPath, "utf8").catch(() => "")).split(" ");
  return [Number(processId ?? 0), startedAt];
}

/** Whether that very process is there: its number may belong to another one by now. */
async function isAlive(processId: number, startedAt: string | undefined): Promise<boolean> {
  if (!(processId > 0) || processId === process.pid) {
    return false;
  }
  if (process.platform === "linux") {
    const found = await startOf(processId);
    return found !== null && (startedAt === undefined || startedAt === "" || found === startedAt);
  }
  try {
    process.kill(processId, 0);
    return true;
  } catch (error) {
    // It exists but belongs to somebody else.
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}

/**
 * When the process was started, in clock ticks since boot; null when it is gone, or dead and only
 * not collected yet. Source: proc(5), fields 3 and 22 of /proc/<pid>/stat.
 */
async function startOf(processId: number): Promise<string | null> {
  const stat = await readFile(`/proc/${processId}/stat`, "utf8").catch(() => null);
  // The name in field 2 may hold anything, blanks and brackets too.
  const fields = stat?.slice(stat.lastIndexOf(")") + 2).split(" ");
  const state = fields?.[0];
  return state === undefined || state === "Z" || state === "X" ? null : (fields?.[19] ?? null);
}

async function readOrMakeId(path: string, now: Date): Promise<string> {
  const kept = (await readFile(path, "utf8").catch(() => "")).trim();
  if (isId("node", kept)) {
    return kept;
  }
  const nodeId = newId("node", now);
  await writeFile(path, `${nodeId}\n`, { mode: 0o600 });
  return nodeId;
}
