/**
 * Settlements that the database refuses for good, on this machine's disk, each with the reason. A
 * letter is open until an operator has had it booked or has discarded it (settlements.ts); neither
 * time nor the number of attempts closes one. A record that is refused again and again is one
 * letter.
 */
import { formatUsd } from "../money.ts";
import { SpoolFile } from "./spool-file.ts";
import type { SpoolRecord } from "./spool-record.ts";

export type DeadLetter = {
  /** The reservation's id and how it was to end: a reservation has at most one letter of each. */
  readonly id: string;
  readonly organizationId: string;
  readonly reservationId: string;
  /** `settled`, `released` or `expired`. */
  readonly status: string;
  /** When the call ended, as an ISO 8601 time. */
  readonly occurredAt: string;
  /** Null when nothing was bought, or when the record does not tell an amount. */
  readonly costUsd: string | null;
  /** What the database said, with secrets masked. */
  readonly reason: string;
  readonly record: SpoolRecord;
};

type LetterText = SpoolRecord & { readonly reason: string };
type ClosedText = { readonly version: 1; readonly closes: string; readonly closedAt: string };
type Open = { readonly letter: DeadLetter; readonly kept: Promise<void> };

const NANO_USD = /^\d{1,18}$/;

export class DeadLetters {
  readonly #file: SpoolFile;
  readonly #open = new Map<string, Open>();

  private constructor(file: SpoolFile, texts: readonly string[]) {
    this.#file = file;
    for (const text of texts) {
      const fact = JSON.parse(text) as LetterText | ClosedText;
      if ("closes" in fact) {
        this.#open.delete(fact.closes);
      } else {
        const { reason, ...record } = fact;
        const letter = toLetter(record, reason);
        this.#open.set(letter.id, { letter, kept: Promise.resolve() });
      }
    }
  }

  /** Reads the letters. A file in which none is open any more is emptied. */
  static async open(path: string): Promise<{ deadLetters: DeadLetters; tornBytes: number }> {
    const { spoolFile, records, tornBytes } = await SpoolFile.open(path);
    const deadLetters = new DeadLetters(spoolFile, records);
    if (deadLetters.count === 0) {
      await spoolFile.clear();
    }
    return { deadLetters, tornBytes };
  }

  /** How many wait for an operator. */
  get count(): number {
    return this.#open.size;
  }

  /** The open ones, oldest first. */
  list(): readonly DeadLetter[] {
    return [...this.#open.values()].map(({ letter }) => letter);
  }

  find(id: string): DeadLetter | null {
    return this.#open.get(id)?.letter ?? null;
  }

  /** Resolves once the letter would survive a power cut. */
  async bury(record: SpoolRecord, reason: string): Promise<void> {
    const letter = toLetter(record, reason);
    const known = this.#open.get(letter.id);
    if (known !== undefined) {
      return await known.kept;
    }
    const kept = this.#file.append(JSON.stringify({ ...record, reason } satisfies LetterText));
    this.#open.set(letter.id, { letter, kept });
    try {
      await kept;
    } catch (error) {
      this.#open.delete(letter.id);
      throw error;
    }
  }

  /** Only for what is booked and audited. */
  async close(id: string, closedAt: Date): Promise<void> {
    const fact: ClosedText = { version: 1, closes: id, closedAt: closedAt.toISOString() };
    await this.#file.append(JSON.stringify(fact));
    this.#open.delete(id);
  }

  async end(): Promise<void> {
    await this.#file.close();
  }
}

function toLetter(record: SpoolRecord, reason: string): DeadLetter {
  const { organizationId, reservationId, row } = record.closing;
  const {
    status,
    occurred_at,
    cost_nano_usd = "",
  } = row as {
    status: string;
    occurred_at: string;
    cost_nano_usd?: string;
  };
  return {
    id: `${reservationId}.${status}`,
    organizationId,
    reservationId,
    status,
    occurredAt: occurred_at,
    costUsd: NANO_USD.test(cost_nano_usd) ? formatUsd(BigInt(cost_nano_usd)) : null,
    reason,
    record,
  };
}
