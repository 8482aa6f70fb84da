/** The one directory that a node writes to. */
import { randomUUID } from "node:crypto";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** Makes the directory if it is missing. Throws when nothing can be written there. */
export async function prepareStateDirectory(path: string): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o700 });
  await checkStateDirectory(path);
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
