/**
 * Keeps settlements on this machine while PostgreSQL cannot take them. What is appended here is
 * still in the writer's memory and goes to the database from there; the file is for the case that
 * this process does not live to see it. When the last record of it is in the database, the file is
 * emptied. A record that the database refuses for good goes to the dead letters, which only an
 * operator closes. Nothing is dropped by age or by count.
 */
import { join } from "node:path";
import type { Log } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import { checkStateDirectory } from "../operations/state-directory.ts";
import type { ClosingJson } from "./batch-json.ts";
import { SpoolFile } from "./spool-file.ts";

/** What is kept of a closing: enough to book it, on this version or a later one. */
export type SpoolRecord = {
  readonly version: 1;
  readonly closing: ClosingJson;
  readonly request: object | null;
};

type SpoolParts = { readonly log: Log; readonly metrics: Metrics };

const SPOOL_NAME = "settlements.spool";
const DEAD_LETTERS_NAME = "dead-letters.spool";
/** About 40,000 settlements. */
const SPOOL_BYTES_MAX = 64 * 1024 * 1024;

export class Spool {
  readonly #directory: string;
  readonly #parts: SpoolParts;
  readonly #settlements: SpoolFile;
  readonly #deadLetters: SpoolFile;
  readonly #bytesMax: number;
  #notBooked: number;
  #isWritable = true;

  private constructor(
    settlements: SpoolFile,
    deadLetters: SpoolFile,
    options: { directory: string; notBooked: number; bytesMax: number; parts: SpoolParts },
  ) {
    this.#directory = options.directory;
    this.#settlements = settlements;
    this.#deadLetters = deadLetters;
    this.#notBooked = options.notBooked;
    this.#bytesMax = options.bytesMax;
    this.#parts = options.parts;
    this.#report();
  }

  /** Opens the spool and reads what an earlier process left in it; that is still to be booked. */
  static async open(
    directory: string,
    parts: SpoolParts,
    bytesMax: number = SPOOL_BYTES_MAX,
  ): Promise<{ spool: Spool; left: readonly SpoolRecord[] }> {
    const settlements = await SpoolFile.open(join(directory, SPOOL_NAME));
    const deadLetters = await SpoolFile.open(join(directory, DEAD_LETTERS_NAME));
    for (const { tornBytes } of [settlements, deadLetters]) {
      if (tornBytes > 0) {
        parts.log.error("spool.torn_tail", { count: tornBytes });
      }
    }
    const left = settlements.records.map((text) => JSON.parse(text) as SpoolRecord);
    parts.metrics.deadLetters.set(deadLetters.records.length);
    const options = { directory, notBooked: left.length, bytesMax, parts };
    return { spool: new Spool(settlements.spoolFile, deadLetters.spoolFile, options), left };
  }

  /** Whether a call that is admitted now could be kept here when it ends. */
  get canKeep(): boolean {
    return this.#isWritable && this.#settlements.length < this.#bytesMax;
  }

  /** Resolves once the record would survive a crash. Rejects when the disk cannot take it. */
  async keep(record: SpoolRecord): Promise<void> {
    try {
      await this.#settlements.append(JSON.stringify(record));
      this.#isWritable = true;
      this.#notBooked++;
      this.#report();
    } catch (error) {
      this.#isWritable = false;
      this.#parts.log.error("spool.unwritable", { error });
      throw error;
    }
  }

  /** Looks whether a disk that could not be written to can be again. */
  async probe(): Promise<void> {
    if (!this.#isWritable) {
      await checkStateDirectory(this.#directory);
      this.#isWritable = true;
    }
  }

  /** One kept record is in the database now. */
  async booked(): Promise<void> {
    this.#notBooked--;
    if (this.#notBooked === 0) {
      await this.#settlements.clear();
    }
    this.#report();
  }

  /** Puts aside what the database refuses for good, with the reason. */
  async bury(record: SpoolRecord, reason: string): Promise<void> {
    await this.#deadLetters.append(JSON.stringify({ ...record, reason }));
    this.#parts.metrics.deadLetters.inc();
  }

  async close(): Promise<void> {
    await this.#settlements.close();
    await this.#deadLetters.close();
  }

  #report(): void {
    this.#parts.metrics.spoolRecords.set(this.#notBooked);
    this.#parts.metrics.spoolBytes.set(this.#settlements.length);
  }
}
