/**
 * Seals what was booked: each organization's entries in the order of their numbers, in batches
 * whose hashes form a chain. Runs beside the request path and blocks nobody.
 *
 * A number is taken before its transaction commits, so the highest number that can be seen says
 * nothing about the smaller ones. As `create index concurrently` does, we read the highest number
 * that was given out, list the transactions that hold the lock every insert holds, and wait until
 * these are over: each number up to ours is then committed, or will never be. (An exclusive lock
 * would make every booking wait behind one forgotten transaction; this only makes us wait.)
 */
import { type Clock, sleep } from "../clock.ts";
import type { Sql } from "../database/client.ts";
import {
  entryNumberLast,
  entryWriterList,
  organizationsToSeal,
  SEAL_ENTRIES_MAX,
  sealInsert,
} from "./seal-queries.ts";

/** A batch of the writer takes milliseconds; for whoever takes longer the next run waits. */
const WRITERS_WAIT_MAX_MS = 5_000;
const WRITERS_POLL_MS = 10;
const ORGANIZATIONS_PAGE = 500;
/** Two million entries: some ten seconds of work. The rest waits for the next run. */
const SEALS_PER_RUN_MAX = 400;

/** Answers how many entries were sealed here. Safe on any number of nodes at once. */
export async function sealLedger(
  sql: Sql,
  clock: Clock,
  waitMaxMs = WRITERS_WAIT_MAX_MS,
): Promise<number> {
  const throughNumber = await entryNumberLast(sql);
  if (!(await writersAreDone(sql, clock, waitMaxMs))) {
    return 0;
  }
  let sealedCount = 0;
  let sealsLeft = SEALS_PER_RUN_MAX;
  let afterId = "";
  while (sealsLeft > 0) {
    const page = { afterId, throughNumber, limit: ORGANIZATIONS_PAGE };
    const organizationIds = await organizationsToSeal(sql, page);
    for (const organizationId of organizationIds) {
      let entryCount = SEAL_ENTRIES_MAX;
      while (entryCount === SEAL_ENTRIES_MAX && sealsLeft > 0) {
        const sealedAt = clock.now();
        entryCount = await sealInsert(sql, { organizationId, throughNumber, sealedAt });
        sealedCount += entryCount;
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

/** Waits for the transactions that may be writing entries now, not for those that begin later. */
async function writersAreDone(sql: Sql, clock: Clock, waitMaxMs: number): Promise<boolean> {
  const startedMs = clock.monotonicMs();
  let waitedFor = await entryWriterList(sql);
  while (waitedFor.length > 0) {
    if (clock.monotonicMs() - startedMs >= waitMaxMs) {
      return false;
    }
    await sleep(WRITERS_POLL_MS);
    const present = new Set(await entryWriterList(sql));
    waitedFor = waitedFor.filter((writer) => present.has(writer));
  }
  return true;
}
