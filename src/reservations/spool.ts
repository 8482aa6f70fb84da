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
import { DeadLetters } from "./dead-letters.ts";
import { SpoolFile } from "./spool-file.ts";
import type { SpoolRecord } from "./spool-record.ts";

export type { SpoolRecord };

/** `already_booked`: the reservation had ended before; `dead_letter`: refused for good. */
export type SpoolOutcome = "booked" | "already_booked" | "dead_letter";

/** The numbers of a node's spool. */
export type SpoolState = {
  /** Records that are not in the database yet. */
  readonly recordCount: number;
  /** Since the oldest of them happened; 0 when there is none. */
  readonly oldestAgeMs: number;
  readonly bytes: number;
  readonly bytesMax: number;
  readonly deadLetterCount: number;
};

type SpoolParts = { readonly log: Log; readonly metrics: Metrics };

const SPOOL_NAME = "settlements.spool";
const DEAD_LETTERS_NAME = "dead-letters.spool";
/** About 40,000 settlements. */
const SPOOL_BYTES_MAX = 64 * 1024 * 1024;

export class Spool {
  readonly deadLetters: DeadLetters;
  readonly #directory: string;
  readonly #parts: SpoolParts;
  readonly #settlements: SpoolFile;
  readonly #bytesMax: number;
  /** On the disk and not in the database yet, oldest first. */
  readonly #waiting: Set<SpoolRecord>;
  readonly #watched = new Map<SpoolRecord, PromiseWithResolvers<SpoolOutcome>>();
  #isWritable = true;

  private constructor(
    settlements: SpoolFile,
    deadLetters: DeadLetters,
    options: {
      directory: string;
      left: readonly SpoolRecord[];
      bytesMax: number;
      parts: SpoolParts;
    },
  ) {
    this.#directory = options.directory;
    this.#settlements = settlements;
    this.deadLetters = deadLetters;
    this.#waiting = new Set(options.left);
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
    const { deadLetters, tornBytes } = await DeadLetters.open(join(directory, DEAD_LETTERS_NAME));
    for (const count of [settlements.tornBytes, tornBytes]) {
      if (count > 0) {
        parts.log.error("spool.torn_tail", { count });
      }
    }
    const left = settlements.records.map((text) => JSON.parse(text) as SpoolRecord);
    const options = { directory, left, bytesMax, parts };
    return { spool: new Spool(settlements.spoolFile, deadLetters, options), left };
  }

  /** Whether a call that is admitted now could be kept here when it ends. */
  get canKeep(): boolean {
    return this.#isWritable && this.#settlements.length < this.#bytesMax;
  }

  /** What is not in the database yet, oldest first. */
  get waiting(): readonly SpoolRecord[] {
    return [...this.#waiting];
  }

  /** The numbers of this moment; brings the gauge of the age up to date, which grows by itself. */
  measure(now: Date): SpoolState {
    const [oldest] = this.#waiting;
    const oldestAgeMs = oldest === undefined ? 0 : ageMs(oldest, now);
    this.#parts.metrics.spoolOldestSeconds.set(oldestAgeMs / 1_000);
    return {
      recordCount: this.#waiting.size,
      oldestAgeMs,
      bytes: this.#settlements.length,
      bytesMax: this.#bytesMax,
      deadLetterCount: this.deadLetters.count,
    };
  }

  /** Resolves once the record would survive a crash. Rejects when the disk cannot take it. */
  async keep(record: SpoolRecord): Promise<void> {
    try {
      await this.#settlements.append(JSON.stringify(record));
      this.#isWritable = true;
      this.#waiting.add(record);
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

  /** A record needs no keeping any more: it is in the database, or a dead letter. */
  async forget(record: SpoolRecord, outcome: SpoolOutcome): Promise<void> {
    this.#watched.get(record)?.resolve(outcome);
    this.#watched.delete(record);
    this.#waiting.delete(record);
    if (this.#waiting.size === 0) {
      await this.#settlements.clear();
    }
    this.#report();
  }

  /** Resolves when the record is forgotten, with what became of it. */
  outcomeOf(record: SpoolRecord): Promise<SpoolOutcome> {
    const watched = this.#watched.get(record) ?? Promise.withResolvers<SpoolOutcome>();
    this.#watched.set(record, watched);
    return watched.promise;
  }

  /** Puts aside what the database refuses for good, with the reason. */
  async bury(record: SpoolRecord, reason: string): Promise<void> {
    await this.deadLetters.bury(record, reason);
    this.#report();
  }

  /** Only for what is booked and audited. */
  async closeLetter(deadLetterId: string, closedAt: Date): Promise<void> {
    await this.deadLetters.close(deadLetterId, closedAt);
    this.#report();
  }

  async close(): Promise<void> {
    await this.#settlements.close();
    await this.deadLetters.end();
  }

  #report(): void {
    const { metrics } = this.#parts;
    metrics.spoolRecords.set(this.#waiting.size);
    metrics.spoolBytes.set(this.#settlements.length);
    metrics.deadLetters.set(this.deadLetters.count);
  }
}

/** Since the call ended. A record whose time cannot be read counts as new. */
function ageMs({ closing }: SpoolRecord, now: Date): number {
  const { occurred_at } = closing.row as { occurred_at?: string };
  const happenedMs = Date.parse(occurred_at ?? "");
  return Number.isNaN(happenedMs) ? 0 : Math.max(0, now.getTime() - happenedMs);
}
