/**
 * Makes the end of a reservation durable: in the database, or, when that takes too long, in the
 * spool on this machine's disk. Whichever comes first answers the caller; the way to the database
 * goes on until it is there.
 */
import { maskSecrets } from "../log.ts";
import type { Spool, SpoolOutcome, SpoolRecord } from "./spool.ts";
import type { WriterQueue } from "./writer-queue.ts";

/** A commit that takes longer than this is not waited for: the disk is asked as well. */
const SPOOL_AFTER_MS = 500;
const REASON_CHARACTERS_MAX = 500;

/**
 * Resolves once durable: false when the reservation had ended before. Rejects when neither the
 * database nor the disk can take it for good.
 */
export function closeDurably(
  queue: WriterQueue,
  spool: Spool,
  record: SpoolRecord,
): Promise<boolean> {
  return new Promise((resolve, reject) => {
    let kept: Promise<boolean> = Promise.resolve(false);
    const timer = setTimeout(() => {
      kept = keep(spool, record);
      kept.then((isKept) => isKept && resolve(true)).catch(reject);
    }, SPOOL_AFTER_MS);
    queue.addClosing({
      closing: record.closing,
      requestRow: record.request,
      resolve: (wasOpen) => {
        clearTimeout(timer);
        resolve(wasOpen);
        forget(spool, record, kept, outcomeOf(wasOpen)).catch(reject);
      },
      reject: (error) => {
        clearTimeout(timer);
        bury(spool, record, error)
          .then(() => forget(spool, record, kept, "dead_letter"))
          .then(() => resolve(true), reject);
      },
    });
  });
}

/** The same for a record that an earlier process kept: it is on the disk already. */
export function replayKept(queue: WriterQueue, spool: Spool, record: SpoolRecord): Promise<void> {
  return new Promise((resolve, reject) => {
    queue.addClosing({
      closing: record.closing,
      requestRow: record.request,
      resolve: (wasOpen) => {
        spool.forget(record, outcomeOf(wasOpen)).then(resolve, reject);
      },
      reject: (error) => {
        bury(spool, record, error)
          .then(() => spool.forget(record, "dead_letter"))
          .then(resolve, reject);
      },
    });
  });
}

/** Answers false when the disk cannot take it: then only the database can. */
async function keep(spool: Spool, record: SpoolRecord): Promise<boolean> {
  try {
    await spool.keep(record);
    return true;
  } catch {
    // Logged by the spool, which takes no new calls until the disk is well again.
    return false;
  }
}

async function forget(
  spool: Spool,
  record: SpoolRecord,
  kept: Promise<boolean>,
  outcome: SpoolOutcome,
): Promise<void> {
  if (await kept) {
    await spool.forget(record, outcome);
  }
}

function outcomeOf(wasOpen: boolean): SpoolOutcome {
  return wasOpen ? "booked" : "already_booked";
}

async function bury(spool: Spool, record: SpoolRecord, error: unknown): Promise<void> {
  const reason = maskSecrets(String(error)).slice(0, REASON_CHARACTERS_MAX);
  await spool.bury(record, reason);
}
