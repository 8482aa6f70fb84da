/**
 * What waits for the writer, in order of arrival, and how a batch is made of it and answered.
 * Bounded: beyond the limits new reservations are refused at once and telemetry is dropped.
 */
import { assert } from "../assert.ts";
import type { Clock } from "../clock.ts";
import { PublicError } from "../errors.ts";
import { type ClosingJson, toClosingJson, toRequestRow } from "./batch-json.ts";
import type { BatchRow } from "./queries.ts";
import type { NewReservation, RequestRecord, ReserveOutcome, WindowState } from "./reservation.ts";

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

type WaitingRequest = Waiting<void> & { requestRow: object };

export type WriterBatch = {
  closings: readonly WaitingClosing[];
  reservations: readonly WaitingReservation[];
  records: readonly WaitingRequest[];
  /** Every request row of the batch: those of the closings and those that stand alone. */
  requestRows: readonly object[];
  size: number;
};

/** A caller waits no longer than this for a decision; the answer is then 503. */
const RESERVE_WAIT_MAX_MS = 900;
const RETRY_AFTER_SECONDS = 2;
const BATCH_ITEMS_MAX = 512;
const WAITING_RESERVATIONS_MAX = 10_000;
const WAITING_RECORDS_MAX = 10_000;

export class WriterQueue {
  #closings: WaitingClosing[] = [];
  #reservations: WaitingReservation[] = [];
  #records: WaitingRequest[] = [];
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  addReservation(reservation: NewReservation): Promise<ReserveOutcome> {
    return new Promise((resolve, reject) => {
      if (this.#reservations.length >= WAITING_RESERVATIONS_MAX) {
        reject(unavailable("Too many requests wait for a reservation."));
        return;
      }
      const giveUp = setTimeout(() => {
        waiting.hasGivenUp = true;
        reject(unavailable("The budget store did not answer in time."));
      }, RESERVE_WAIT_MAX_MS);
      const waiting: WaitingReservation = {
        reservation,
        hasGivenUp: false,
        resolve: (outcome) => {
          clearTimeout(giveUp);
          resolve(outcome);
        },
        reject: (error) => {
          clearTimeout(giveUp);
          reject(error);
        },
      };
      this.#reservations.push(waiting);
    });
  }

  /** Closings are never refused: the money is spent already. */
  addClosing(waiting: WaitingClosing): void {
    this.#closings.push(waiting);
  }

  addRequest(request: RequestRecord): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#records.length >= WAITING_RECORDS_MAX) {
        reject(unavailable("Too many requests wait to be recorded."));
        return;
      }
      this.#records.push({ requestRow: toRequestRow(request), resolve, reject });
    });
  }

  /** The next batch, settlements first; null when nothing waits. */
  take(): WriterBatch | null {
    const closings = this.#takeClosings();
    this.#reservations = this.#reservations.filter(({ hasGivenUp }) => !hasGivenUp);
    const reservations = this.#reservations.splice(0, BATCH_ITEMS_MAX);
    const records = this.#records.splice(0, BATCH_ITEMS_MAX);
    const batch = toBatch(closings, reservations, records);
    return batch.size === 0 ? null : batch;
  }

  /**
   * A reservation is closed once a batch: two of its closings in one statement would both find it
   * open and both be booked. The second (the sweeper's beside the call's own) waits for the next.
   */
  #takeClosings(): WaitingClosing[] {
    const taken: WaitingClosing[] = [];
    const later: WaitingClosing[] = [];
    const reservationIds = new Set<string>();
    for (const waiting of this.#closings.splice(0, BATCH_ITEMS_MAX)) {
      const { reservationId } = waiting.closing;
      (reservationIds.has(reservationId) ? later : taken).push(waiting);
      reservationIds.add(reservationId);
    }
    this.#closings = [...later, ...this.#closings];
    return taken;
  }

  /** After a failure: the closings of the batch go back to the front, in their order. */
  returnClosings(batch: WriterBatch): void {
    this.#closings = [...batch.closings, ...this.#closings];
  }

  /** To be decided again, in their old place. */
  returnReservations(batch: WriterBatch): void {
    this.#reservations = [...batch.reservations, ...this.#reservations];
  }

  /** Lets go of reservations that nobody waits for any more. */
  releaseLater(abandoned: readonly NewReservation[]): void {
    for (const reservation of abandoned) {
      const closing = toClosingJson({
        organizationId: reservation.organizationId,
        reservationId: reservation.id,
        provider: reservation.provider,
        windowIds: reservation.windows.map(({ id }) => id),
        occurredAt: this.#clock.now(),
        status: "released",
      });
      this.#closings.push({ closing, requestRow: null, resolve: () => {}, reject: () => {} });
    }
  }
}

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

function toBatch(
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

function unavailable(message: string, cause?: unknown): PublicError {
  return new PublicError("reservation_unavailable", message, {
    retryAfterSeconds: RETRY_AFTER_SECONDS,
    cause,
  });
}
