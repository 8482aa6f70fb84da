/** What goes to the database at once: how a batch is made of what waits, and how it is answered. */
import { assert } from "../assert.ts";
import { PublicError } from "../errors.ts";
import type { ClosingJson } from "./batch-json.ts";
import type { BatchRow } from "./queries.ts";
import type { NewReservation, ReserveOutcome, WindowState } from "./reservation.ts";

type Waiting<Value> = { resolve: (value: Value) => void; reject: (error: unknown) => void };

export type WaitingClosing = Waiting<boolean> & {
  closing: ClosingJson;
  requestRow: object | null;
};

export type WaitingReservation = Waiting<ReserveOutcome> & {
  reservation: NewReservation;
  /** The caller was told "unavailable"; a grant that comes after that is given back. */
  hasGivenUp: boolean;
};

export type WaitingRequest = Waiting<void> & { requestRow: object };

export type WriterBatch = {
  closings: readonly WaitingClosing[];
  reservations: readonly WaitingReservation[];
  records: readonly WaitingRequest[];
  /** Every request row of the batch: those of the closings and those that stand alone. */
  requestRows: readonly object[];
  size: number;
};

const RETRY_AFTER_SECONDS = 2;

/** Answers everyone in a written batch. Returns grants that came too late for their caller. */
export function resolveAll(
  batch: WriterBatch,
  rows: readonly BatchRow[],
): readonly NewReservation[] {
  const byReservation = new Map(rows.map((row) => [row.reservation_id, row]));
  for (const { closing, resolve } of batch.closings) {
    resolve(byReservation.get(closing.reservationId)?.outcome === "closed");
  }
  const tooLate: NewReservation[] = [];
  for (const waiting of batch.reservations) {
    const outcome = toOutcome(byReservation.get(waiting.reservation.id));
    if (waiting.hasGivenUp && outcome.status === "granted") {
      tooLate.push(waiting.reservation);
    } else {
      waiting.resolve(outcome);
    }
  }
  for (const { resolve } of batch.records) {
    resolve();
  }
  return tooLate;
}

/** Tells everyone but the closings that the database is out of reach. Returns what may be held. */
export function rejectAll(batch: WriterBatch, cause: unknown): readonly NewReservation[] {
  for (const { reject } of batch.reservations) {
    reject(unavailable("The budget store cannot be reached.", cause));
  }
  for (const { reject } of batch.records) {
    reject(unavailable("The request could not be put on record.", cause));
  }
  return batch.reservations.map(({ reservation }) => reservation);
}

/** The same work, one item a batch. */
export function splitBatch(batch: WriterBatch): readonly WriterBatch[] {
  return [
    ...batch.closings.map((closing) => toBatch([closing], [], [])),
    ...batch.reservations.map((reservation) => toBatch([], [reservation], [])),
    ...batch.records.map((record) => toBatch([], [], [record])),
  ];
}

/** A single closing without what it tells of its request; null when there is nothing to take. */
export function withoutRequest(batch: WriterBatch): WriterBatch | null {
  const [closing] = batch.closings;
  return batch.size === 1 && closing !== undefined && closing.requestRow !== null
    ? toBatch([{ ...closing, requestRow: null }], [], [])
    : null;
}

export function toBatch(
  closings: readonly WaitingClosing[],
  reservations: readonly WaitingReservation[],
  records: readonly WaitingRequest[],
): WriterBatch {
  return {
    closings,
    reservations,
    records,
    requestRows: [
      ...closings.flatMap(({ requestRow }) => (requestRow === null ? [] : [requestRow])),
      ...records.map(({ requestRow }) => requestRow),
    ],
    size: closings.length + reservations.length + records.length,
  };
}

function toOutcome(row: BatchRow | undefined): ReserveOutcome {
  assert(row !== undefined, "every reservation of a batch is answered");
  switch (row.outcome) {
    case "granted":
      return { status: "granted", tightest: toWindowState(row) };
    case "no_room":
      return { status: "no_room", window: toWindowState(row) };
    case "duplicate":
    case "stale":
    case "key_unknown":
    case "key_revoked":
    case "key_expired":
    case "key_inactive":
      return { status: row.outcome };
    default:
      assert(false, `a reservation has no outcome called ${row.outcome}`);
  }
}

function toWindowState(row: BatchRow): WindowState {
  return {
    windowId: row.window_id ?? "",
    limitNanoUsd: row.limit_nano_usd ?? 0n,
    settledNanoUsd: row.settled_nano_usd ?? 0n,
    heldNanoUsd: row.held_nano_usd ?? 0n,
  };
}

/** What a caller is told when the database did not decide. */
export function unavailable(message: string, cause?: unknown): PublicError {
  return new PublicError("reservation_unavailable", message, {
    retryAfterSeconds: RETRY_AFTER_SECONDS,
    cause,
  });
}
