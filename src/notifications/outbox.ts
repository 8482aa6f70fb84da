/**
 * The outbox: what happened, written in the transaction in which it happened, for handlers to read
 * afterwards. Handlers are not built yet; until then its depth is measured and nothing is lost.
 */
import type { Queryable } from "../database/client.ts";

/** Counting stops here: beyond it the exact number tells nothing more. */
const COUNT_MAX = 100_000;

/** How many rows nobody has handled yet. */
export async function countWaiting(sql: Queryable): Promise<number> {
  const [row] = await sql<[{ waiting: number }]>`
    -- name: outbox.count_waiting
    select count(*)::integer as waiting
    from (select from outbox where handled_at is null limit ${COUNT_MAX}) as unhandled
  `;
  return row.waiting;
}
