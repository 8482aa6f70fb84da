/**
 * The demo's encryption key. A database that is given outlives the demo, and the next demo on it
 * needs the same key: it is kept in a file of this account, one a database. A private PostgreSQL
 * goes with the demo, and so does its key.
 */
import { createHash } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import type { Environment } from "../config.ts";
import { errorCodeOf } from "../database/sqlstate.ts";
import { newSecret } from "../keys/token.ts";
import { nameDatabase } from "./database-problem.ts";

/** Where the key of a database is kept, below the XDG state directory. */
export function demoKeyPath(databaseUrl: string, environment: Environment): string {
  const name = createHash("sha256").update(nameDatabase(databaseUrl)).digest("hex").slice(0, 16);
  const stateHome = environment["XDG_STATE_HOME"] || join(homedir(), ".local", "state");
  return join(stateHome, "spendra", `demo-${name}.key`);
}

/** The key that was kept there, or null. */
export async function readDemoKey(path: string): Promise<string | null> {
  const text = await readFile(path, "utf8").catch(() => "");
  return text.trim() === "" ? null : text.trim();
}

/**
 * Makes a key and keeps it. `problem` is null, or why it could not be written down: the demo runs
 * all the same, but the next one will not know the key.
 */
export async function makeDemoKey(
  path: string,
): Promise<{ encryptionKey: string; problem: string | null }> {
  const encryptionKey = newSecret();
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    // "wx": of two demos starting together, one makes the file and the other reads it.
    await writeFile(path, `${encryptionKey}\n`, { mode: 0o600, flag: "wx" });
    return { encryptionKey, problem: null };
  } catch (error) {
    const winner = await readDemoKey(path);
    return winner === null
      ? { encryptionKey, problem: errorCodeOf(error) ?? "it cannot be written" }
      : { encryptionKey: winner, problem: null };
  }
}
