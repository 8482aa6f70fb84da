/** The one directory that a node writes to. */
import { randomUUID } from "node:crypto";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** Nothing can be written there; the message says to whom and where. */
export class StateDirectoryError extends Error {
  override readonly name = "StateDirectoryError";

  constructor(path: string, cause: unknown) {
    const reason = cause instanceof Error && "code" in cause ? ` (${String(cause.code)})` : "";
    super(
      `SPENDRA_STATE_DIR ${path} cannot be written${reason}: name a directory that this account ` +
        "may write to, on a disk that is neither full nor read-only",
      { cause },
    );
  }
}

/** Makes the directory if it is missing. Throws `StateDirectoryError`. */
export async function prepareStateDirectory(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true, mode: 0o700 });
    await checkStateDirectory(path);
  } catch (error) {
    throw new StateDirectoryError(path, error);
  }
}

/** Throws unless a file can be written there: full, read-only and missing all count. */
export async function checkStateDirectory(path: string): Promise<void> {
  const probe = join(path, `.probe-${randomUUID()}`);
  try {
    await writeFile(probe, "spendra");
  } finally {
    await rm(probe, { force: true });
  }
}
