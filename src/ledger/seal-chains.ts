/**
 * Seals numbered rows: those of each organization in the order of their numbers, in batches whose
 * hashes form a chain. Runs beside the request path and blocks nobody.
 *
 * A number is taken before its transaction commits, so the highest number that can be seen says
 * nothing about the smaller ones. As `create index concurrently` does, we read the highest number
 * that was given out, list the transactions that hold the lock every insert holds, and wait until
 * these are over: each number up to ours is then committed, or will never be. (An exclusive lock
 * would make every insert wait behind one forgotten transaction; this only makes us wait.)
 */
import { type Clock, sleep } from "../clock.ts";
import type { Sql } from "../database/client.ts";
import { tableWriterList } from "../database/table-writers.ts";

/** What is sealed: the ledger's entries, the events of the audit log. */
export type SealedTable = {
  readonly table: string;
  /** The highest number that was ever given out, committed or not; 0 before the first. */
  readonly numberLast: (sql: Sql) => Promise<bigint>;
  /** Organizations with rows up to this number that no seal covers, in id order. */
  readonly organizationsToSeal: (
    sql: Sql,
    page: { afterId: string; throughNumber: bigint; limit: number },
  ) => Promise<readonly string[]>;
  /** Makes the next seal of the chain; answers how many rows it covers. */
  readonly sealInsert: (
    sql: Sql,
    seal: { organizationId: string; throughNumber: bigint; sealedAt: Date },
  ) => Promise<number>;
  readonly sealRowsMax: number;
  readonly sealsPerRunMax: number;
};

/** A change takes milliseconds; for whoever takes longer the next run waits. */
const WRITERS_WAIT_MAX_MS = 5_000;
const WRITERS_POLL_MS = 10;
const ORGANIZATIONS_PAGE = 500;

/** Answers how many rows were sealed here. Safe on any number of nodes at once. */
export async function sealChains(
  sql: Sql,
  clock: Clock,
  sealed: SealedTable,
  waitMaxMs = WRITERS_WAIT_MAX_MS,
): Promise<number> {
  const throughNumber = await sealed.numberLast(sql);
  if (!(await writersAreDone(sql, clock, sealed.table, waitMaxMs))) {
    return 0;
  }
  let sealedCount = 0;
  let sealsLeft = sealed.sealsPerRunMax;
  let afterId = "";
  while (sealsLeft > 0) {
    const page = { afterId, throughNumber, limit: ORGANIZATIONS_PAGE };
    const organizationIds = await sealed.organizationsToSeal(sql, page);
    for (const organizationId of organizationIds) {
      let rowCount = sealed.sealRowsMax;
      while (rowCount === sealed.sealRowsMax && sealsLeft > 0) {
        const sealedAt = clock.now();
        rowCount = await sealed.sealInsert(sql, { organizationId, throughNumber, sealedAt });
        sealedCount += rowCount;
        sealsLeft--;
      }
      afterId = organizationId;
    }
    if (organizationIds.length < ORGANIZATIONS_PAGE) {
      break;
    }
  }
  return sealedCount;
}

/** Waits for the transactions that may be inserting now, not for those that begin later. */
async function writersAreDone(
  sql: Sql,
  clock: Clock,
  table: string,
  waitMaxMs: number,
): Promise<boolean> {
  const startedMs = clock.monotonicMs();
  let waitedFor = await tableWriterList(sql, table);
  while (waitedFor.length > 0) {
    if (clock.monotonicMs() - startedMs >= waitMaxMs) {
      return false;
    }
    await sleep(WRITERS_POLL_MS);
    const present = new Set(await tableWriterList(sql, table));
    waitedFor = waitedFor.filter((writer) => present.has(writer));
  }
  return true;
}
