/**
 * SQL of the proofs: each statement answers only what differs, at most DIFFERENCES_KEPT_MAX rows,
 * and on each row how many there are and what they add up to.
 */
import type { Queryable } from "../database/client.ts";
import { DIFFERENCES_KEPT_MAX } from "./difference.ts";

/** On every row: of all that differ, also of those beyond the limit. */
type Totals = { total_count: bigint; total_drift_nano_usd: bigint };

export async function organizationIds(
  sql: Queryable,
  page: { afterId: string; limit: number },
): Promise<readonly string[]> {
  const rows = await sql<{ id: string }[]>`
    -- name: organizations.ids
    select id from organizations where id > ${page.afterId} order by id limit ${page.limit}
  `;
  return rows.map((row) => row.id);
}

export async function organizationExists(sql: Queryable, id: string): Promise<boolean> {
  const rows = await sql`
    -- name: organizations.exists
    select from organizations where id = ${id}
  `;
  return rows.length > 0;
}

export type WindowDifferenceRow = Totals & {
  window_id: string;
  budget_id: string | null;
  settled_nano_usd: bigint | null;
  held_nano_usd: bigint | null;
  booked_nano_usd: bigint;
  reserved_nano_usd: bigint;
};

/**
 * Windows whose counters are not what the ledger (settled) and the open reservations (held) add up
 * to; `budget_id` is null for a window that reservations name and that is not there. `since` null:
 * all windows; else those that began at it or later.
 */
export async function windowDifferences(
  sql: Queryable,
  scope: { organizationId: string; since: Date | null },
): Promise<readonly WindowDifferenceRow[]> {
  const { organizationId, since } = scope;
  return await sql<WindowDifferenceRow[]>`
    -- name: budget_windows.differences
    with booked as (
      select
        w.window_id,
        sum(
          case when d.id is null then 0 else e.amount_nano_usd end
          - case when c.id is null then 0 else e.amount_nano_usd end
        )::bigint as booked_nano_usd
      from ledger_entries e
      left join ledger_accounts d
        on d.organization_id = e.organization_id and d.id = e.debit_account_id and d.kind = 'spend'
      left join ledger_accounts c
        on c.organization_id = e.organization_id and c.id = e.credit_account_id and c.kind = 'spend'
      join reservations r on r.organization_id = e.organization_id and r.id = e.reservation_id
      cross join lateral unnest(r.window_ids) as w(window_id)
      where e.organization_id = ${organizationId}
        -- A reservation comes after its window's start, its entries after the reservation; an hour
        -- more, and another, for clocks that differ between nodes.
        and (
          ${since}::timestamptz is null
          or r.reserved_at >= ${since}::timestamptz - interval '1 hour'
          and e.occurred_at >= ${since}::timestamptz - interval '2 hours'
        )
      group by w.window_id
    ),
    reserved as (
      select w.window_id, sum(r.amount_nano_usd)::bigint as reserved_nano_usd
      from reservations r
      cross join lateral unnest(r.window_ids) as w(window_id)
      where r.organization_id = ${organizationId} and r.status = 'held'
      group by w.window_id
    ),
    counted as (
      select id as window_id, budget_id, window_start, settled_nano_usd, held_nano_usd
      from budget_windows
      where organization_id = ${organizationId}
    ),
    compared as (
      select
        window_id, c.budget_id, c.settled_nano_usd, c.held_nano_usd,
        coalesce(b.booked_nano_usd, 0) as booked_nano_usd,
        coalesce(r.reserved_nano_usd, 0) as reserved_nano_usd
      from counted c
      full join booked b using (window_id)
      full join reserved r using (window_id)
      where c.window_start >= ${since}::timestamptz is not false
    ),
    differing as (
      select
        *,
        abs(coalesce(settled_nano_usd, 0) - booked_nano_usd)
          + abs(coalesce(held_nano_usd, 0) - reserved_nano_usd) as drift_nano_usd
      from compared
      where settled_nano_usd is distinct from booked_nano_usd
        or held_nano_usd is distinct from reserved_nano_usd
    )
    select
      window_id, budget_id, settled_nano_usd, held_nano_usd, booked_nano_usd, reserved_nano_usd,
      count(*) over () as total_count,
      (sum(drift_nano_usd) over ())::bigint as total_drift_nano_usd
    from differing
    order by window_id
    limit ${DIFFERENCES_KEPT_MAX}
  `;
}

export async function windowCount(sql: Queryable, organizationId: string): Promise<bigint> {
  const [row] = await sql<[{ count: bigint }]>`
    -- name: budget_windows.count
    select count(*) from budget_windows where organization_id = ${organizationId}
  `;
  return row.count;
}

export type UsageDifferenceRow = Totals & {
  usage_on: string;
  api_key_id: string;
  model: string;
  usage_source: string;
  daily_calls: bigint;
  daily_nano_usd: bigint;
  daily_tokens: bigint;
  event_calls: bigint;
  event_nano_usd: bigint;
  event_tokens: bigint;
};

/** Rows of `usage_daily` that are not what the spend events in force of their key add up to. */
export async function usageDifferences(
  sql: Queryable,
  organizationId: string,
): Promise<readonly UsageDifferenceRow[]> {
  return await sql<UsageDifferenceRow[]>`
    -- name: usage_daily.differences
    with events as (
      select
        (s.occurred_at at time zone 'UTC')::date as usage_on, coalesce(r.team_id, '') as team_id,
        coalesce(r.project_id, '') as project_id, s.api_key_id, s.provider, s.model, s.usage_source,
        count(*) as calls,
        sum(
          s.input_uncached_tokens + s.input_cache_read_tokens + s.input_cache_write_5m_tokens
          + s.input_cache_write_1h_tokens + s.input_audio_tokens + s.input_image_tokens
        )::bigint as input_tokens,
        sum(
          s.output_text_tokens + s.output_reasoning_tokens
          + s.output_audio_tokens + s.output_image_tokens
        )::bigint as output_tokens,
        sum(s.cost_nano_usd)::bigint as cost_nano_usd
      from spend_events s
      left join reservations r
        on r.organization_id = s.organization_id and r.id = s.reservation_id
      where s.organization_id = ${organizationId}
        -- Its place was taken by what was really spent.
        and not (s.usage_source = 'recovered' and r.corrected_at is not null)
      group by 1, 2, 3, 4, 5, 6, 7
    ),
    daily as (
      select
        usage_on, team_id, project_id, api_key_id, provider, model, usage_source,
        calls, input_tokens, output_tokens, cost_nano_usd
      from usage_daily
      where organization_id = ${organizationId}
    )
    select
      usage_on, api_key_id, model, usage_source,
      coalesce(d.calls, 0) as daily_calls,
      coalesce(d.cost_nano_usd, 0) as daily_nano_usd,
      coalesce(d.input_tokens + d.output_tokens, 0) as daily_tokens,
      coalesce(e.calls, 0) as event_calls,
      coalesce(e.cost_nano_usd, 0) as event_nano_usd,
      coalesce(e.input_tokens + e.output_tokens, 0) as event_tokens,
      count(*) over () as total_count,
      (
        sum(abs(coalesce(d.cost_nano_usd, 0) - coalesce(e.cost_nano_usd, 0))) over ()
      )::bigint as total_drift_nano_usd
    from daily d
    full join events e
      using (usage_on, team_id, project_id, api_key_id, provider, model, usage_source)
    -- A row whose calls were all corrected away stays, with nothing in it.
    where (
        coalesce(d.calls, 0), coalesce(d.input_tokens, 0), coalesce(d.output_tokens, 0),
        coalesce(d.cost_nano_usd, 0)
      ) is distinct from (
        coalesce(e.calls, 0), coalesce(e.input_tokens, 0), coalesce(e.output_tokens, 0),
        coalesce(e.cost_nano_usd, 0)
      )
    order by usage_on, api_key_id, model, usage_source
    limit ${DIFFERENCES_KEPT_MAX}
  `;
}

export async function usageCount(sql: Queryable, organizationId: string): Promise<bigint> {
  const [row] = await sql<[{ count: bigint }]>`
    -- name: usage_daily.count
    select count(*) from usage_daily where organization_id = ${organizationId}
  `;
  return row.count;
}

export type AccountPairRow = {
  debit_account_id: string;
  /** Null when there is no such account. */
  debit_kind: "spend" | "provider" | null;
  credit_account_id: string;
  credit_kind: "spend" | "provider" | null;
  entry_count: bigint;
  amount_nano_usd: bigint;
};

/** What the entries moved between each two accounts. */
export async function accountPairs(
  sql: Queryable,
  organizationId: string,
): Promise<readonly AccountPairRow[]> {
  return await sql<AccountPairRow[]>`
    -- name: ledger_entries.account_pairs
    select
      p.debit_account_id, d.kind as debit_kind, p.credit_account_id, c.kind as credit_kind,
      p.entry_count, p.amount_nano_usd
    from (
      select
        debit_account_id, credit_account_id, count(*) as entry_count,
        sum(amount_nano_usd)::bigint as amount_nano_usd
      from ledger_entries
      where organization_id = ${organizationId}
      group by debit_account_id, credit_account_id
    ) as p
    left join ledger_accounts d
      on d.organization_id = ${organizationId} and d.id = p.debit_account_id
    left join ledger_accounts c
      on c.organization_id = ${organizationId} and c.id = p.credit_account_id
    order by p.debit_account_id, p.credit_account_id
  `;
}
