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
  const written = readRows(rows);
  for (const { closing, resolve, reject } of batch.closings) {
    const found = written.unchanged.get(closing.reservationId);
    if (found === "missing" && closing.row.status !== "released") {
      reject(new UnknownReservationError());
    } else {
      resolve(found === undefined);
    }
  }
  const tooLate: NewReservation[] = [];
  for (const waiting of batch.reservations) {
    const outcome = toOutcome(waiting.reservation, written);
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

/**
 * Money was spent for a reservation that the database does not have, because a backup was restored.
 * It is put aside for an operator.
 */
class UnknownReservationError extends Error {
  override readonly name = "UnknownReservationError";

  constructor() {
    super("the database has no such reservation");
  }
}

type Written = {
  windows: ReadonlyMap<string, WindowState>;
  refusals: ReadonlyMap<string, BatchRow>;
  /** By reservation: what it had become before. */
  unchanged: ReadonlyMap<string, string>;
};

function readRows(rows: readonly BatchRow[]): Written {
  const windows = new Map<string, WindowState>();
  const refusals = new Map<string, BatchRow>();
  const unchanged = new Map<string, string>();
  for (const row of rows) {
    if (row.kind === "window") {
      windows.set(row.window_id ?? "", toWindowState(row));
    } else if (row.kind === "refused") {
      refusals.set(row.reservation_id ?? "", row);
    } else {
      unchanged.set(row.reservation_id ?? "", row.outcome ?? "");
    }
  }
  return { windows, refusals, unchanged };
}

function toOutcome(reservation: NewReservation, written: Written): ReserveOutcome {
  const refusal = written.refusals.get(reservation.id);
  return refusal === undefined
    ? { status: "granted", tightest: tightestOf(reservation, written.windows) }
    : toRefusal(refusal);
}

/** No news of a window is not good news: every window that was asked is told of. */
function tightestOf(
  { windows }: NewReservation,
  states: ReadonlyMap<string, WindowState>,
): WindowState {
  let tightest: WindowState | null = null;
  for (const { id } of windows) {
    const state = states.get(id);
    assert(state !== undefined, "the database tells of every window that was asked");
    tightest = tightest === null || leftIn(state) < leftIn(tightest) ? state : tightest;
  }
  assert(tightest !== null, "a reservation is held in a hard cap's window");
  return tightest;
}

function toRefusal(row: BatchRow): ReserveOutcome {
  const outcome = row.outcome ?? "none";
  switch (outcome) {
    case "no_room":
      // A window that is gone (a backup was restored) is opened when the call is resolved anew.
      return row.limit_units === null
        ? { status: "stale" }
        : { status: "no_room", window: toWindowState(row) };
    case "duplicate":
    case "stale":
    case "key_unknown":
    case "key_revoked":
    case "key_expired":
    case "key_inactive":
      return { status: outcome };
    default:
      assert(false, `a reservation has no outcome called ${outcome}`);
  }
}

function toWindowState(row: BatchRow): WindowState {
  return {
    windowId: row.window_id ?? "",
    limit: row.limit_units ?? 0n,
    used: row.used_units ?? 0n,
    held: row.held_units ?? 0n,
  };
}

/** Below zero after a limit was lowered: of two such windows the worse one is told of. */
function leftIn({ limit, used, held }: WindowState): bigint {
  return limit - used - held;
}

/** What a window has left, as callers are told. */
export function leftOrNone(state: WindowState): bigint {
  const left = leftIn(state);
  return left > 0n ? left : 0n;
}

/** What a caller is told when the database did not decide. */
export function unavailable(message: string, cause?: unknown): PublicError {
  return new PublicError("reservation_unavailable", message, {
    retryAfterSeconds: RETRY_AFTER_SECONDS,
    cause,
  });
}
