/**
 * What waits for the writer, in order of arrival. Bounded: beyond the limits new reservations are
 * refused at once and telemetry is dropped.
 */
import type { Clock } from "../clock.ts";
import { toClosingJson, toRequestRow } from "./batch-json.ts";
import {
  type NewReservation,
  type RequestRecord,
  type ReserveOutcome,
  windowIdsOf,
} from "./reservation.ts";
import {
  toBatch,
  unavailable,
  type WaitingClosing,
  type WaitingRequest,
  type WaitingReservation,
  type WriterBatch,
} from "./writer-batch.ts";

/** A caller waits no longer than this for a decision; the answer is then 503. */
const RESERVE_WAIT_MAX_MS = 900;
const BATCH_ITEMS_MAX = 512;
const WAITING_RESERVATIONS_MAX = 10_000;
const WAITING_RECORDS_MAX = 10_000;
/** Twice the time after which the server ends any statement of the writer. */
const RELEASE_AGAIN_AFTER_MS = 10_000;
/** Beyond this the sweeper finds what is held. */
const DOUBTFUL_MAX = 10_000;

export class WriterQueue {
  #closings: WaitingClosing[] = [];
  #reservations: WaitingReservation[] = [];
  #records: WaitingRequest[] = [];
  /** How many closings of a reservation are not in the database yet. */
  readonly #ending = new Map<string, number>();
  /** Released without having been found, on a connection after the one that asked for them. */
  #doubtful: { reservation: NewReservation; sinceMs: number }[] = [];
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
    const { reservationId } = waiting.closing;
    this.#ending.set(reservationId, (this.#ending.get(reservationId) ?? 0) + 1);
    const leave = (): void => {
      const others = (this.#ending.get(reservationId) ?? 0) - 1;
      if (others > 0) {
        this.#ending.set(reservationId, others);
      } else {
        this.#ending.delete(reservationId);
      }
    };
    this.#closings.push({
      ...waiting,
      resolve: (wasOpen) => {
        leave();
        waiting.resolve(wasOpen);
      },
      reject: (error) => {
        leave();
        waiting.reject(error);
      },
    });
  }

  /** Whether an end of this reservation waits, or is on its way. */
  isEnding(reservationId: string): boolean {
    return this.#ending.has(reservationId);
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
    const { closings, hasSecondEnds } = this.#takeClosings();
    this.#reservations = this.#reservations.filter(({ hasGivenUp }) => !hasGivenUp);
    // A closing that waits goes before them as well.
    const reservations = this.#reservations.splice(0, hasSecondEnds ? 0 : BATCH_ITEMS_MAX);
    const records = this.#records.splice(0, BATCH_ITEMS_MAX);
    const batch = toBatch(closings, reservations, records);
    return batch.size === 0 ? null : batch;
  }

  /**
   * A reservation is closed once a batch: two of its closings in one statement would both find it
   * open and both be booked. The second (the sweeper's beside the call's own) waits for the next.
   */
  #takeClosings(): { closings: readonly WaitingClosing[]; hasSecondEnds: boolean } {
    const closings: WaitingClosing[] = [];
    const secondEnds: WaitingClosing[] = [];
    const reservationIds = new Set<string>();
    for (const waiting of this.#closings.splice(0, BATCH_ITEMS_MAX)) {
      const { reservationId } = waiting.closing;
      (reservationIds.has(reservationId) ? secondEnds : closings).push(waiting);
      reservationIds.add(reservationId);
    }
    this.#closings = [...secondEnds, ...this.#closings];
    return { closings, hasSecondEnds: secondEnds.length > 0 };
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
      this.#release(reservation, (wasHeld) => {
        if (!wasHeld && this.#doubtful.length < DOUBTFUL_MAX) {
          this.#doubtful.push({ reservation, sinceMs: this.#clock.monotonicMs() });
        }
      });
    }
  }

  /**
   * A statement on a lost connection may be carried out after the release that was sent on the next
   * one: a server that was frozen runs both when it goes on, in any order. So what was not found
   * held is released once more, when that statement must have ended. Answers whether there was any.
   */
  releaseAgain(): boolean {
    const untilMs = this.#clock.monotonicMs() - RELEASE_AGAIN_AFTER_MS;
    const ripe = this.#doubtful.filter(({ sinceMs }) => sinceMs <= untilMs);
    this.#doubtful = this.#doubtful.filter(({ sinceMs }) => sinceMs > untilMs);
    for (const { reservation } of ripe) {
      this.#release(reservation, () => {});
    }
    return ripe.length > 0;
  }

  #release(reservation: NewReservation, resolve: (wasHeld: boolean) => void): void {
    const closing = toClosingJson({
      organizationId: reservation.organizationId,
      reservationId: reservation.id,
      provider: reservation.provider,
      windowIds: windowIdsOf(reservation),
      occurredAt: this.#clock.now(),
      status: "released",
    });
    this.#closings.push({ closing, requestRow: null, resolve, reject: () => {} });
  }
}
