/**
 * Ends holds that nobody ended: their process died, or lost the database for longer than the
 * deadline. The provider may have been reached and may send a bill, so the whole bound is booked,
 * marked `recovered`; nothing that may have been spent is forgotten.
 */
import type { Clock } from "../clock.ts";
import type { Queryable } from "../database/client.ts";
import { newId, timeOfId } from "../id.ts";
import { emptyBuckets } from "../usage/buckets.ts";
import { type HeldRow, reservationsHeldByNode, reservationsPastDeadline } from "./queries.ts";
import type { Closing, RequestRecord } from "./reservation.ts";
import type { Writer } from "./writer.ts";

/** One run ends at most this many; the rest waits for the next run. */
const EXPIRED_MAX = 1_000;

/** Answers how many reservations were ended here. Safe on any number of nodes at once. */
export async function expireDue(sql: Queryable, writer: Writer, clock: Clock): Promise<number> {
  return await expireAll(
    await reservationsPastDeadline(sql, clock.now(), EXPIRED_MAX),
    writer,
    clock,
  );
}

/**
 * Ends what this node held before `startedAt`: its calls died with the process, and there is no
 * reason to wait for their deadlines. Answers how many there were.
 */
export async function expireOrphans(
  sql: Queryable,
  writer: Writer,
  clock: Clock,
  node: { id: string; startedAt: Date },
): Promise<number> {
  let ended = 0;
  for (;;) {
    const orphans = await reservationsHeldByNode(sql, node.id, node.startedAt, EXPIRED_MAX);
    const endedNow = await expireAll(orphans, writer, clock);
    ended += endedNow;
    // Where nothing ends, a database that only answers reads would give the same ones for ever.
    if (orphans.length < EXPIRED_MAX || endedNow === 0) {
      return ended;
    }
  }
}

async function expireAll(due: readonly HeldRow[], writer: Writer, clock: Clock): Promise<number> {
  // What was ended by an earlier sweep and waits for the database is not put in line once more.
  const open = due.filter(({ id }) => !writer.isEnding(id));
  const ended = await Promise.all(
    open.map((row) => writer.close(toClosing(row, clock.now()), toRequestRecord(row, clock.now()))),
  );
  return ended.filter(Boolean).length;
}

function toClosing(row: HeldRow, now: Date): Closing {
  return {
    status: "expired",
    organizationId: row.organizationId,
    reservationId: row.id,
    provider: row.provider,
    windowIds: row.windowIds,
    occurredAt: now,
    booked: {
      spendEventId: newId("spendEvent", now),
      ledgerEntryId: newId("ledgerEntry", now),
      usageSource: "recovered",
      priceVersion: row.priceVersion,
      costNanoUsd: row.amountNanoUsd,
      buckets: {
        ...emptyBuckets,
        inputUncachedTokens: row.promptTokensMax,
        outputTextTokens: row.completionTokensMax,
      },
      providerUsage: null,
    },
  };
}

/** What the caller was told is not known: its node is gone, or was cut off for too long. */
function toRequestRecord(row: HeldRow, now: Date): RequestRecord {
  return {
    organizationId: row.organizationId,
    requestId: row.requestId,
    receivedAt: timeOfId(row.requestId),
    route: row.route,
    apiKeyId: row.apiKeyId,
    actorId: row.actorId,
    provider: row.provider,
    model: row.model,
    isStreaming: false,
    policyResult: "granted",
    status: 500,
    errorCode: "abandoned",
    reservationId: row.id,
    durationMs: now.getTime() - row.reservedAt.getTime(),
  };
}
