/** Calls to a node as an application makes them, and what its books say afterwards. */
import type { TestNode } from "./node.ts";
import type { TestDatabase } from "./postgres.ts";

/** Sends a chat completion; `fields` are added to the body. */
export async function postChat(
  node: TestNode,
  token: string,
  fields: object = {},
): Promise<Response> {
  return await fetch(`${node.url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify({
      model: "gpt-4o-mini",
      max_tokens: 100,
      messages: [{ role: "user", content: "hello" }],
      ...fields,
    }),
  });
}

/** The counts of everything that a call leaves behind, and the money in all windows. */
export async function readBooks({ sql }: TestDatabase) {
  const [books] = await sql<
    [
      {
        entries: number;
        events: number;
        held: number;
        settled: number;
        released: number;
        expired: number;
        heldNanoUsd: bigint;
        settledNanoUsd: bigint;
        bookedNanoUsd: bigint;
      },
    ]
  >`
    select
      (select count(*)::int from ledger_entries) as entries,
      (select count(*)::int from spend_events) as events,
      (select count(*)::int from reservations where status = 'held') as held,
      (select count(*)::int from reservations where status = 'settled') as settled,
      (select count(*)::int from reservations where status = 'released') as released,
      (select count(*)::int from reservations where status = 'expired') as expired,
      (select coalesce(max(held_nano_usd), 0) from budget_windows) as "heldNanoUsd",
      (select coalesce(min(settled_nano_usd), 0) from budget_windows) as "settledNanoUsd",
      (select coalesce(sum(amount_nano_usd), 0)::bigint from ledger_entries) as "bookedNanoUsd"
  `;
  return books;
}
