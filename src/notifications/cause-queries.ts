/** Looks in the database for what deserves an alert. Each answer has a limit. */
import type { Queryable } from "../database/client.ts";

export type ReachedCapRow = {
  organization_id: string;
  budget_id: string;
  budget_name: string;
  window_start: Date;
  window_end: Date | null;
  limit_nano_usd: bigint;
  settled_nano_usd: bigint;
  held_nano_usd: bigint;
};

export type OverageRow = {
  organization_id: string;
  provider: string;
  model: string;
  count: bigint;
  over_nano_usd: bigint;
  newest_reservation_id: string;
};

export type StuckRow = {
  organization_id: string;
  count: bigint;
  amount_nano_usd: bigint;
  oldest_deadline_at: Date;
};

export type DifferingProofRow = {
  proved_at: Date;
  difference_count: bigint;
  drift_nano_usd: bigint;
};

/** The newest proof of recent windows and the newest whole one, where they found a difference. */
export async function ledgerProofsDiffering(sql: Queryable): Promise<readonly DifferingProofRow[]> {
  return await sql<DifferingProofRow[]>`
    -- name: alerts.ledger_proofs_differing
    select proved_at, difference_count, drift_nano_usd
    from (
      (select * from ledger_proofs where since_at is null order by id desc limit 1)
      union all
      (select * from ledger_proofs where since_at is not null order by id desc limit 1)
    ) as newest
    where difference_count > 0
    order by proved_at desc
  `;
}

/** Costs above their hold, by what was called. */
export async function overagesSince(
  sql: Queryable,
  since: Date,
  rowsMax: number,
): Promise<readonly OverageRow[]> {
  return await sql<OverageRow[]>`
    -- name: alerts.overages_since
    select
      s.organization_id, s.provider, s.model, count(*) as count,
      sum(s.cost_nano_usd - r.amount_nano_usd)::bigint as over_nano_usd,
      max(s.reservation_id) as newest_reservation_id
    from spend_events s
    join reservations r on r.organization_id = s.organization_id and r.id = s.reservation_id
    where s.is_overage and s.occurred_at > ${since}
    group by s.organization_id, s.provider, s.model
    order by s.organization_id, s.provider, s.model
    limit ${rowsMax}
  `;
}

/** Holds that were to be ended by now, and by the sweeper at the latest. */
export async function reservationsStuck(
  sql: Queryable,
  deadlineBefore: Date,
  rowsMax: number,
): Promise<readonly StuckRow[]> {
  return await sql<StuckRow[]>`
    -- name: alerts.reservations_stuck
    select
      organization_id, count(*) as count, sum(amount_nano_usd)::bigint as amount_nano_usd,
      min(deadline_at) as oldest_deadline_at
    from reservations
    where status = 'held' and deadline_at < ${deadlineBefore}
    group by organization_id
    order by organization_id
    limit ${rowsMax}
  `;
}

/** Soft caps, and hard caps in shadow, whose present window is used up; a budget once. */
export async function softCapsReached(
  sql: Queryable,
  now: Date,
  rowsMax: number,
): Promise<readonly ReachedCapRow[]> {
  return await sql<ReachedCapRow[]>`
    -- name: alerts.soft_caps_reached
    select
      b.organization_id, b.id as budget_id, b.name as budget_name, w.window_start, w.window_end,
      w.limit_nano_usd, w.settled_nano_usd, w.held_nano_usd
    from budgets b
    -- The newest by key: a budget has thousands of windows that are over.
    cross join lateral (
      select window_start, window_end, limit_nano_usd, settled_nano_usd, held_nano_usd
      from budget_windows
      where organization_id = b.organization_id
        and budget_id = b.id
        and window_start <= ${now}
      order by window_start desc
      limit 1
    ) as w
    where b.archived_at is null
      and (w.window_end is null or w.window_end > ${now})
      and w.settled_nano_usd + w.held_nano_usd >= w.limit_nano_usd
      and exists (
        select
        from policies p
        where p.organization_id = b.organization_id
          and p.budget_id = b.id
          and (p.kind = 'soft_cap' or (p.kind = 'hard_cap' and p.mode = 'shadow'))
          and p.archived_at is null
      )
    order by b.organization_id, b.id
    limit ${rowsMax}
  `;
}
