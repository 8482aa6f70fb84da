/** Looks in the database for budgets that are well used, or on the way to be used up. */
import type { Queryable } from "../database/client.ts";
import type { ReachedCapRow } from "./cause-queries.ts";

export type UsedBudgetRow = ReachedCapRow & {
  /** Whether it refuses what does not fit. */
  is_hard: boolean;
};

/**
 * Capped budgets of whose present window at least so many percent are settled, or that will be used
 * up before the window ends if it goes on as in the window so far. A pace is one after a twentieth
 * of the window. What is held does not count: most of it is given back.
 */
export async function budgetsUsed(
  sql: Queryable,
  at: { now: Date; percent: number },
  rowsMax: number,
): Promise<readonly UsedBudgetRow[]> {
  const { now, percent } = at;
  return await sql<UsedBudgetRow[]>`
    -- name: alerts.budgets_used
    select
      b.organization_id, b.id as budget_id, b.name as budget_name, w.window_start, w.window_end,
      w.limit_nano_usd, w.settled_nano_usd, w.held_nano_usd, p.is_hard
    from budgets b
    cross join lateral (
      select bool_or(kind = 'hard_cap' and mode = 'enforced') as is_hard
      from policies
      where organization_id = b.organization_id
        and budget_id = b.id
        and kind in ('hard_cap', 'soft_cap')
        and archived_at is null
    ) as p
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
      and p.is_hard is not null
      and (w.window_end is null or w.window_end > ${now})
      and w.limit_nano_usd > 0
      and (
        w.settled_nano_usd::numeric * 100 >= w.limit_nano_usd::numeric * ${percent}::integer
        or (
          20 * (${now}::timestamptz - w.window_start) >= w.window_end - w.window_start
          and w.settled_nano_usd * extract(epoch from w.window_end - w.window_start)
            > w.limit_nano_usd * extract(epoch from ${now}::timestamptz - w.window_start)
        )
      )
    order by b.organization_id, b.id
    limit ${rowsMax}
  `;
}

/** A cause in one window under one limit: both are in the details of its alert. */
type WindowCause = {
  organizationId: string;
  kind: string;
  subject: string;
  windowStart: string;
  limitUsd: string;
};

/** The places, from 0, of those causes that had an alert which is resolved. */
export async function alertsHadBefore(
  sql: Queryable,
  causes: readonly WindowCause[],
): Promise<ReadonlySet<number>> {
  const rows = await sql<{ place: number }[]>`
    -- name: alerts.had_before
    select c.place::integer - 1 as place
    from unnest(
      ${causes.map(({ organizationId }) => organizationId)}::text[],
      ${causes.map(({ kind }) => kind)}::text[],
      ${causes.map(({ subject }) => subject)}::text[],
      ${causes.map(({ windowStart }) => windowStart)}::text[],
      ${causes.map(({ limitUsd }) => limitUsd)}::text[]
    ) with ordinality as c(organization_id, kind, subject, window_start, limit_usd, place)
    where exists (
      select
      from alerts a
      where a.organization_id = c.organization_id
        and a.kind = c.kind
        and a.subject = c.subject
        and a.resolved_at is not null
        and a.details ->> 'windowStart' = c.window_start
        and a.details ->> 'limitUsd' = c.limit_usd
    )
  `;
  return new Set(rows.map(({ place }) => place));
}
