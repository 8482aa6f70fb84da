/** SQL that reads the book: its entries, newest first, and what was spent day by day. */
import type { Queryable } from "../database/client.ts";

export type LedgerEntryRow = {
  id: string;
  occurred_at: Date;
  /** The same instant in whole microseconds, for the place in the list. */
  occurred_at_us: bigint;
  kind: "settlement" | "recovery" | "adjustment" | "reversal";
  amount_nano_usd: bigint;
  debit_account_id: string;
  credit_account_id: string;
  request_id: string | null;
  reservation_id: string | null;
  spend_event_id: string | null;
  api_key_id: string | null;
  actor_id: string | null;
  reverses_entry_id: string | null;
  provider: string | null;
  model: string | null;
  usage_source: "provider" | "estimated" | "recovered" | null;
};

/**
 * `actorIds` null means every actor's entries. `before.at` is a timestamptz as text, or `infinity`:
 * sent as text, because the driver would cut a time to milliseconds.
 */
export async function ledgerEntryList(
  sql: Queryable,
  page: {
    organizationId: string;
    actorIds: readonly string[] | null;
    before: { at: string; id: string };
    limit: number;
  },
): Promise<readonly LedgerEntryRow[]> {
  return await sql<LedgerEntryRow[]>`
    -- name: ledger_entries.list
    select
      e.id, e.occurred_at,
      (extract(epoch from e.occurred_at) * 1000000)::bigint as occurred_at_us,
      e.kind, e.amount_nano_usd, e.debit_account_id, e.credit_account_id, e.request_id,
      e.reservation_id, e.spend_event_id, e.api_key_id, e.actor_id, e.reverses_entry_id,
      s.provider, s.model, s.usage_source
    from ledger_entries e
    -- Both are written with one instant, which also names the one partition to look into.
    left join spend_events s
      on s.organization_id = e.organization_id
      and s.id = e.spend_event_id
      and s.occurred_at = e.occurred_at
    where e.organization_id = ${page.organizationId}
      and (e.occurred_at, e.id) < (${page.before.at}::text::timestamptz, ${page.before.id})
      and (${page.actorIds}::text[] is null or e.actor_id = any(${page.actorIds}::text[]))
    order by e.occurred_at desc, e.id desc
    limit ${page.limit}
  `;
}

export type UsageDayRow = { usage_on: string; cost_nano_usd: bigint; calls: bigint };

/**
 * Cost and calls of each UTC day from `firstOn` to `lastOn` (`YYYY-MM-DD`), oldest first, days
 * without calls included. `employeeIds` null means everyone's keys.
 */
export async function usageDailySum(
  sql: Queryable,
  span: {
    organizationId: string;
    employeeIds: readonly string[] | null;
    firstOn: string;
    lastOn: string;
  },
): Promise<readonly UsageDayRow[]> {
  return await sql<UsageDayRow[]>`
    -- name: usage_daily.sum
    select
      d.day::date as usage_on,
      coalesce(sum(u.cost_nano_usd), 0)::bigint as cost_nano_usd,
      coalesce(sum(u.calls), 0)::bigint as calls
    from generate_series(
      ${span.firstOn}::date::timestamp, ${span.lastOn}::date::timestamp, interval '1 day'
    ) as d(day)
    left join usage_daily u
      on u.organization_id = ${span.organizationId}
      and u.usage_on = d.day::date
      and u.usage_on between ${span.firstOn}::date and ${span.lastOn}::date
      and (
        ${span.employeeIds}::text[] is null
        or u.api_key_id in (
          select k.id
          from api_keys k
          where k.organization_id = ${span.organizationId}
            and k.employee_id = any(${span.employeeIds}::text[])
        )
      )
    group by d.day
    order by d.day
  `;
}

/** Puts on record what a scheduled proof found. `sinceAt` null: nothing was left out. */
export async function ledgerProofInsert(
  sql: Queryable,
  proof: { provedAt: Date; sinceAt: Date | null; differenceCount: bigint; driftNanoUsd: bigint },
): Promise<void> {
  await sql`
    -- name: ledger_proofs.insert
    insert into ledger_proofs (proved_at, since_at, difference_count, drift_nano_usd)
    values (${proof.provedAt}, ${proof.sinceAt}, ${proof.differenceCount}, ${proof.driftNanoUsd})
  `;
}

/**
 * What the newest scheduled proofs found, the larger of the recent and the whole one, so that a
 * proof of recent windows does not hide what the nightly one found in old ones. As a number for a
 * graph; NaN before the first proof.
 */
export async function ledgerDriftNewest(sql: Queryable): Promise<number> {
  const [row] = await sql<[{ drift_nano_usd: number }]>`
    -- name: ledger_proofs.drift_newest
    select coalesce(max(newest.drift_nano_usd)::double precision, 'NaN') as drift_nano_usd
    from (
      (select drift_nano_usd from ledger_proofs where since_at is null order by id desc limit 1)
      union all
      (select drift_nano_usd from ledger_proofs where since_at is not null order by id desc limit 1)
    ) as newest
  `;
  return row.drift_nano_usd;
}
