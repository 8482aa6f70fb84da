/**
 * The group-commit writer: one a process. Everything that waits goes to the database as one
 * function call and one commit; the next batch leaves when the last commit returned. No timer: at
 * low load a batch has one item and takes one commit.
 *
 * Promises kept here: closings go before reservations, because they free room; a reservation is
 * answered within RESERVE_WAIT_MAX_MS whatever the database does, and if it was granted after we
 * had given up, it is released again; a closing is repeated until it is durable.
 */
import { type Clock, sleep } from "../clock.ts";
import type { Sql } from "../database/client.ts";
import { isTransient } from "../database/sqlstate.ts";
import type { Log } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import { toBatchJson } from "./batch-json.ts";
import { batchWrite } from "./queries.ts";
import type { Closing, NewReservation, RequestRecord, ReserveOutcome } from "./reservation.ts";
import {
  rejectAll,
  resolveAll,
  splitBatch,
  type WriterBatch,
  WriterQueue,
} from "./writer-queue.ts";

const BACKOFF_FIRST_MS = 25;
const BACKOFF_MAX_MS = 1_000;

type WriterParts = {
  /** A pool of one connection: a second writer on the same rows buys nothing. */
  readonly sql: Sql;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
};

export class Writer {
  readonly #parts: WriterParts;
  readonly #queue: WriterQueue;
  #running: Promise<void> | null = null;

  constructor(parts: WriterParts) {
    this.#parts = parts;
    this.#queue = new WriterQueue(parts.clock);
  }

  /** Rejects with `PublicError` `reservation_unavailable` when the budgets cannot be asked. */
  reserve(reservation: NewReservation): Promise<ReserveOutcome> {
    const outcome = this.#queue.addReservation(reservation);
    this.#start();
    return outcome;
  }

  /**
   * Resolves once durable: true when this call ended the reservation, false when it had ended
   * before. Rejects only when the database refuses the record for good.
   */
  close(closing: Closing, request: RequestRecord | null): Promise<boolean> {
    const closed = this.#queue.addClosing(closing, request);
    this.#start();
    return closed;
  }

  /** Puts a request on record. Rejects when the database is out of reach. */
  record(request: RequestRecord): Promise<void> {
    const recorded = this.#queue.addRequest(request);
    this.#start();
    return recorded;
  }

  /** Resolves when everything that was asked so far is written. */
  async drain(): Promise<void> {
    await this.#running;
  }

  #start(): void {
    this.#running ??= this.#run();
  }

  async #run(): Promise<void> {
    // Let everything that is already runnable enqueue itself: it then shares the first commit.
    await Promise.resolve();
    let failures = 0;
    for (let batch = this.#queue.take(); batch !== null; batch = this.#queue.take()) {
      const isReached = await this.#write(batch);
      failures = isReached ? 0 : failures + 1;
      if (!isReached) {
        await sleep(Math.min(BACKOFF_FIRST_MS * 2 ** (failures - 1), BACKOFF_MAX_MS));
      }
    }
    // In the same turn in which the queue was found empty, so that nothing can slip in between.
    this.#running = null;
  }

  /** Answers false when the database was out of reach. */
  async #write(batch: WriterBatch): Promise<boolean> {
    const { sql, clock, metrics } = this.#parts;
    const startedMs = clock.monotonicMs();
    try {
      const json = toBatchJson(
        batch.closings.map(({ closing }) => closing),
        batch.reservations.map(({ reservation }) => reservation),
        batch.requests,
      );
      const rows = await batchWrite(sql, json, clock.now());
      metrics.writerBatchSeconds.observe((clock.monotonicMs() - startedMs) / 1000);
      metrics.writerBatchItems.observe(batch.size);
      this.#queue.releaseLater(resolveAll(batch, rows));
      return true;
    } catch (error) {
      return await this.#recover(batch, error);
    }
  }

  async #recover(batch: WriterBatch, error: unknown): Promise<boolean> {
    const { log, metrics } = this.#parts;
    if (isTransient(error)) {
      metrics.writerFailures.inc();
      log.warn("writer.unavailable", { count: batch.size, error });
      this.#queue.returnClosings(batch);
      // The commit may have happened although we did not hear of it: what is held is let go again.
      this.#queue.releaseLater(rejectAll(batch, error));
      return false;
    }
    if (batch.size === 1) {
      log.error("writer.record_refused", { error });
      metrics.settlementFailures.inc(batch.closings.length);
      for (const { reject } of batch.closings) {
        reject(error);
      }
      rejectAll(batch, error);
      return true;
    }
    // One record that the database refuses must not take the others with it.
    for (const single of splitBatch(batch)) {
      await this.#write(single);
    }
    return true;
  }
}
