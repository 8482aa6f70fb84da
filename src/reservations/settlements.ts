/**
 * What an operator may do with the settlements on a node's disk: book now what waits, look at what
 * was refused, have that tried again. A node offers it to its management API and, on this machine,
 * to the command line; where no node runs, the command line does it by itself. All of it may be
 * done at any time and any number of times: a reservation ends once.
 */
import { changeByInstallation, recordAuditEvent } from "../audit/audit-event.ts";
import { type Clock, withTimeout } from "../clock.ts";
import type { Sql } from "../database/client.ts";
import { inTransaction } from "../database/transaction.ts";
import type { DeadLetter } from "./dead-letters.ts";
import type { ReservationStatus } from "./listing.ts";
import { reservationStatus } from "./report.ts";
import type { Spool, SpoolOutcome } from "./spool.ts";
import type { Writer } from "./writer.ts";

/** What became of the records that were waiting when a replay began. */
export type ReplayReport = {
  readonly nodeId: string;
  readonly bookedCount: number;
  /** Their reservation had ended before: nothing was changed. */
  readonly alreadyBookedCount: number;
  /** Refused by the database for good, and put aside. */
  readonly deadLetteredCount: number;
  /** Not done in the time given; the node goes on with them. */
  readonly leftCount: number;
};

/**
 * `booked` and `already_booked`: the letter is closed. `refused`: the database has refused it
 * again. `unknown_reservation`: it has no such reservation. `released_before`: it has one that
 * ended as having bought nothing. `waiting`: not done in time.
 */
export type RetryOutcome =
  | "booked"
  | "already_booked"
  | "refused"
  | "unknown_reservation"
  | "released_before"
  | "waiting";

export type Settlements = {
  /** Has all that waits booked; what takes longer than 8 s is left. */
  replay(): Promise<ReplayReport>;
  /** The open dead letters, oldest first. */
  deadLetters(): Promise<readonly DeadLetter[]>;
  /** Has a dead letter booked; with a row in the audit log it is closed. Null: no such letter. */
  retry(deadLetterId: string): Promise<RetryOutcome | null>;
  /**
   * Closes a dead letter that will never be booked, with the reason in a row of the audit log.
   * False: no such letter. Rejects when the row cannot be written; the letter stays open then.
   */
  discard(deadLetterId: string, reason: string): Promise<boolean>;
};

type SettlementsParts = {
  readonly sql: Sql;
  readonly writer: Writer;
  readonly spool: Spool;
  readonly clock: Clock;
  readonly nodeId: string;
};

/** Below the 10 s after which an idle connection to a socket is closed. */
const WAIT_MAX_MS = 8_000;

export function openSettlements(parts: SettlementsParts): Settlements {
  /** One attempt at a time, so that a letter is closed by one audit row. */
  const retrying = new Set<string>();
  return {
    replay: () => replay(parts),
    deadLetters: async () => parts.spool.deadLetters.list(),
    retry: async (deadLetterId) => {
      const letter = parts.spool.deadLetters.find(deadLetterId);
      if (letter === null || retrying.has(letter.id)) {
        return letter === null ? null : "waiting";
      }
      retrying.add(letter.id);
      try {
        return await retry(parts, letter);
      } finally {
        retrying.delete(letter.id);
      }
    },
    discard: async (deadLetterId, reason) => {
      const letter = parts.spool.deadLetters.find(deadLetterId);
      if (letter === null || retrying.has(letter.id)) {
        return false;
      }
      await close(parts, letter, { outcome: "discarded", reason });
      return true;
    },
  };
}

async function replay({ writer, spool, nodeId }: SettlementsParts): Promise<ReplayReport> {
  const waiting = spool.waiting;
  const outcomes = waiting.map((record) => inTime(spool.outcomeOf(record)));
  // The writer tries the others already; sent twice, a record would be booked once all the same.
  const idle = waiting.filter(({ closing }) => !writer.isEnding(closing.reservationId));
  writer.replay(idle).catch(() => {
    // What could not even be put aside is on the disk still: it counts as left.
  });
  const reached = await Promise.all(outcomes);
  const count = (wanted: SpoolOutcome | null): number =>
    reached.filter((outcome) => outcome === wanted).length;
  return {
    nodeId,
    bookedCount: count("booked"),
    alreadyBookedCount: count("already_booked"),
    deadLetteredCount: count("dead_letter"),
    leftCount: count(null),
  };
}

async function retry(parts: SettlementsParts, letter: DeadLetter): Promise<RetryOutcome> {
  const { sql, writer, spool } = parts;
  const { organizationId, reservationId } = letter;
  const watched = inTime(spool.outcomeOf(letter.record));
  writer.replay([letter.record]).catch(() => {
    // It is in the file of dead letters still.
  });
  const outcome = await watched;
  if (outcome === null) {
    return "waiting";
  }
  if (outcome === "dead_letter") {
    const status = await reservationStatus(sql, organizationId, reservationId);
    return status === null ? "unknown_reservation" : "refused";
  }
  const status = await reservationStatus(sql, organizationId, reservationId);
  const refusal = whyNotBooked(letter, status);
  if (refusal !== null) {
    return refusal;
  }
  await close(parts, letter, { outcome });
  return outcome;
}

/** The letter is closed after the audit row is committed: without one it stays open. */
async function close(
  { sql, spool, clock }: SettlementsParts,
  letter: DeadLetter,
  after: { outcome: string; reason?: string },
): Promise<void> {
  const closedAt = clock.now();
  const { organizationId, reason, costUsd, occurredAt } = letter;
  await inTransaction(sql, (transaction) =>
    recordAuditEvent(
      transaction,
      {
        organizationId,
        action: "dead_letter.close",
        subjectId: letter.id,
        before: { reason, costUsd, occurredAt },
        after,
      },
      changeByInstallation(closedAt),
    ),
  );
  await spool.closeLetter(letter.id, closedAt);
}

/** "Ended before" is also what the database says where the cost of the letter is in no book. */
function whyNotBooked(letter: DeadLetter, status: ReservationStatus | null): RetryOutcome | null {
  if (status === null) {
    return "unknown_reservation";
  }
  return status === "released" && letter.status !== "released" ? "released_before" : null;
}

/** Null when it takes too long. */
async function inTime(outcome: Promise<SpoolOutcome>): Promise<SpoolOutcome | null> {
  return await withTimeout<SpoolOutcome | null>(outcome, WAIT_MAX_MS, () => null);
}
