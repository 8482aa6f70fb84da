/** What the demo asks the database: what is there already, and what became of its one call. */
import type { Sql } from "../database/client.ts";

/** Whether a node has set this database up with an encryption key. */
export async function encryptionCanaryExists(sql: Sql): Promise<boolean> {
  const [table] = await sql<[{ exists: boolean }]>`
    -- name: encryption_canaries.table_exists
    select to_regclass('encryption_canaries') is not null as exists
  `;
  if (!table.exists) {
    return false;
  }
  const rows = await sql`
    -- name: encryption_canaries.exists
    select from encryption_canaries limit 1
  `;
  return rows.length > 0;
}

export async function userExists(sql: Sql, email: string): Promise<boolean> {
  const rows = await sql`
    -- name: users.exists
    select from users where email = ${email} limit 1
  `;
  return rows.length > 0;
}

export type BookedCallRow = {
  requestId: string;
  reservationId: string;
  status: string;
  reservedNanoUsd: bigint;
  costNanoUsd: bigint;
  ledgerEntryId: string;
  ledgerNanoUsd: bigint;
  usageSource: string;
  inputTokens: bigint;
  outputTokens: bigint;
};

/** One settled call: reservation, spend event and ledger entry; null when it is not booked. */
export async function bookedCallFind(
  sql: Sql,
  call: { organizationId: string; reservationId: string },
): Promise<BookedCallRow | null> {
  const [row] = await sql<BookedCallRow[]>`
    -- name: reservations.booked_call
    select
      r.request_id as "requestId", r.id as "reservationId", r.status,
      r.amount_nano_usd as "reservedNanoUsd", s.cost_nano_usd as "costNanoUsd",
      e.id as "ledgerEntryId", e.amount_nano_usd as "ledgerNanoUsd",
      s.usage_source as "usageSource",
      s.input_uncached_tokens + s.input_cache_read_tokens as "inputTokens",
      s.output_text_tokens + s.output_reasoning_tokens as "outputTokens"
    from reservations r
    join spend_events s
      on s.organization_id = r.organization_id and s.reservation_id = r.id
    join ledger_entries e
      on e.organization_id = r.organization_id and e.spend_event_id = s.id
      and e.reservation_id = r.id
    where r.organization_id = ${call.organizationId} and r.id = ${call.reservationId}
  `;
  return row ?? null;
}

export type BudgetLeftRow = {
  name: string;
  period: string;
  limitNanoUsd: bigint;
  settledNanoUsd: bigint;
  heldNanoUsd: bigint;
};

/** The windows that a reservation was held in, the widest budget first. */
export async function reservationWindows(
  sql: Sql,
  call: { organizationId: string; reservationId: string },
): Promise<readonly BudgetLeftRow[]> {
  return await sql<BudgetLeftRow[]>`
    -- name: reservations.windows
    select
      b.name, b.period, w.limit_nano_usd as "limitNanoUsd",
      w.settled_nano_usd as "settledNanoUsd", w.held_nano_usd as "heldNanoUsd"
    from reservations r
    join budget_windows w
      on w.organization_id = r.organization_id and w.id = any(r.window_ids)
    join budgets b on b.organization_id = w.organization_id and b.id = w.budget_id
    where r.organization_id = ${call.organizationId} and r.id = ${call.reservationId}
    order by w.limit_nano_usd desc, b.id
    limit 20
  `;
}
