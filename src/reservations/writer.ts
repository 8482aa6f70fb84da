/**
 * The group-commit writer: one a process. Everything that waits goes to the database as one
 * function call and one commit; the next batch leaves when the last commit returned. No timer: at
 * low load a batch has one item and takes one commit.
 *
 * Promises kept here: closings go before reservations, because they free room; a reservation is
 * answered within a second whatever the database does, and if it was granted after we had given up,
 * it is released again; a closing is repeated until it is in the database, and meanwhile kept on
 * disk (durable-close.ts).
 */
import { type Clock, sleep, withTimeout } from "../clock.ts";
import type { Queryable, Sql } from "../database/client.ts";
import { violatedConstraint } from "../database/sqlstate.ts";
import { PublicError } from "../errors.ts";
import type { Log } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import { type BatchJson, toBatchJson, toClosingJson, toRequestRow } from "./batch-json.ts";
import { closeDurably, replayKept } from "./durable-close.ts";
import { OpenReservations } from "./open-reservations.ts";
import { OpenedWindows } from "./opened-windows.ts";
import { type BatchRow, batchWrite } from "./queries.ts";
import type { Closing, NewReservation, RequestRecord, ReserveOutcome } from "./reservation.ts";
import type { Spool, SpoolRecord } from "./spool.ts";
import { writeFailureOf } from "./write-failure.ts";
import {
  rejectAll,
  resolveAll,
  splitBatch,
  type WriterBatch,
  withoutRequest,
} from "./writer-batch.ts";
import { WriterQueue } from "./writer-queue.ts";

const BACKOFF_FIRST_MS = 25;
const BACKOFF_MAX_MS = 1_000;
/** Above the server's own limit: only a server that does not answer at all gets here. */
const BATCH_TIMEOUT_MS = 7_000;
const RETRY_AFTER_SECONDS = 5;
const IDEMPOTENCY_INDEX = "reservations_idempotency";

type WriterParts = {
  /** Opens a pool of one connection: a second writer on the same rows buys nothing. */
  readonly openSql: () => Sql;
  readonly spool: Spool;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
};

export class Writer {
  readonly #parts: WriterParts;
  readonly #queue: WriterQueue;
  readonly #open: OpenReservations;
  readonly #opened = new OpenedWindows();
  #sql: Sql;
  #running: Promise<void> | null = null;

  constructor(parts: WriterParts) {
    this.#parts = parts;
    this.#queue = new WriterQueue(parts.clock);
    this.#open = new OpenReservations(parts.clock);
    this.#sql = parts.openSql();
  }

  /** Rejects with `PublicError` `reservation_unavailable` when the money could not be booked. */
  async reserve(reservation: NewReservation): Promise<ReserveOutcome> {
    if (!this.#parts.spool.canKeep) {
      throw new PublicError(
        "reservation_unavailable",
        "The local spool is full or cannot be written: no call is taken until it can.",
        { retryAfterSeconds: RETRY_AFTER_SECONDS },
      );
    }
    const decided = this.#queue.addReservation(reservation);
    this.#start();
    const outcome = await decided;
    this.#parts.metrics.reservations.inc({ outcome: outcome.status });
    if (outcome.status === "granted") {
      this.#open.add(reservation.organizationId, reservation.id);
    }
    return outcome;
  }

  /**
   * Resolves once durable, in the database or on this machine's disk: true when this call ended the
   * reservation, false when it had ended before. Rejects only when nothing can take the record.
   */
  async close(closing: Closing, request: RequestRecord | null): Promise<boolean> {
    this.#open.delete(closing.reservationId);
    const closed = closeDurably(this.#queue, this.#parts.spool, {
      version: 1,
      closing: toClosingJson(closing),
      request: request === null ? null : toRequestRow(request),
    });
    this.#start();
    return await closed;
  }

  /** Whether this process is already on the way to end this reservation. */
  isEnding(reservationId: string): boolean {
    return this.#queue.isEnding(reservationId);
  }

  /** Books what an earlier process left in the spool. Resolves when nothing of it is left. */
  async replay(left: readonly SpoolRecord[]): Promise<void> {
    const replayed = left.map((record) => replayKept(this.#queue, this.#parts.spool, record));
    this.#start();
    await Promise.all(replayed);
  }

  /** Puts a request on record. Rejects when the database is out of reach. */
  record(request: RequestRecord): Promise<void> {
    const recorded = this.#queue.addRequest(request);
    this.#start();
    return recorded;
  }

  /** Tells the sweeper that the running calls are alive, and looks after the disk. */
  async beat(sql: Queryable): Promise<void> {
    if (this.#queue.releaseAgain()) {
      this.#start();
    }
    await Promise.all([this.#open.extend(sql), this.#parts.spool.probe()]);
  }

  /** Resolves when everything that was asked so far is written. */
  async drain(): Promise<void> {
    await this.#running;
  }

  /** Closes the connection; what is not written yet is in the spool. */
  async end(timeoutSeconds: number): Promise<void> {
    await this.#sql.end({ timeout: timeoutSeconds });
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
    const { clock, metrics } = this.#parts;
    const startedMs = clock.monotonicMs();
    try {
      const rows = await this.#send(batch);
      metrics.writerBatchSeconds.observe((clock.monotonicMs() - startedMs) / 1000);
      metrics.writerBatchItems.observe(batch.size);
      this.#queue.releaseLater(resolveAll(batch, rows));
      return true;
    } catch (error) {
      return await this.#recover(batch, error);
    }
  }

  /** A server that has vanished without a word is given up, and the connection with it. */
  async #send(batch: WriterBatch): Promise<readonly BatchRow[]> {
    const json = toBatchJson(
      batch.closings.map(({ closing }) => closing),
      batch.reservations.map(({ reservation }) => reservation),
      batch.requestRows,
    );
    try {
      return await withTimeout(this.#openAndWrite(json), BATCH_TIMEOUT_MS, () => {
        throw new SilentDatabaseError();
      });
    } catch (error) {
      if (error instanceof SilentDatabaseError) {
        const silent = this.#sql;
        this.#sql = this.#parts.openSql();
        silent.end({ timeout: 0 }).catch(() => {
          // It is given up either way.
        });
      }
      throw error;
    }
  }

  async #openAndWrite(json: BatchJson): Promise<readonly BatchRow[]> {
    await this.#opened.open(this.#sql, json.asked);
    const rows = await batchWrite(this.#sql, json, this.#parts.clock.now());
    this.#opened.check(rows);
    return rows;
  }

  async #recover(batch: WriterBatch, error: unknown): Promise<boolean> {
    const { log, metrics } = this.#parts;
    const failure = writeFailureOf(error);
    if (failure !== "refused") {
      metrics.writerFailures.inc();
      log.warn("writer.unavailable", { count: batch.size, error });
      this.#queue.returnClosings(batch);
      const rejected = rejectAll(batch, error);
      if (failure === "in_doubt") {
        // The commit may have happened although we did not hear of it: what is held is let go.
        this.#queue.releaseLater(rejected);
      }
      return false;
    }
    if (batch.size === 1 && violatedConstraint(error) === IDEMPOTENCY_INDEX) {
      // Another node used the key in this instant; asked again, the database knows of it.
      this.#queue.returnReservations(batch);
      return true;
    }
    const bare = withoutRequest(batch);
    if (bare !== null) {
      // What is told of a request must not keep its money from being booked.
      log.error("writer.request_refused", { error });
      return await this.#write(bare);
    }
    if (batch.size === 1) {
      log.error("writer.record_refused", { error });
      metrics.settlementFailures.inc(batch.closings.length);
      for (const { reject } of batch.closings) {
        // Puts the record aside for an operator.
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

/** Counts as a lost connection: the same batch is sent again on a new one. */
class SilentDatabaseError extends Error {
  override readonly name = "SilentDatabaseError";
  readonly code = "ETIMEDOUT";

  constructor() {
    super(`the database has not answered for ${BATCH_TIMEOUT_MS} ms`);
  }
}
