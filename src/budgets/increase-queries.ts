/** SQL of temporary increases. */
import type { Queryable, Transaction } from "../database/client.ts";
import type { NanoUsd } from "../money.ts";

export type IncreaseRow = {
  id: string;
  budget_id: string;
  amount_nano_usd: NanoUsd;
  reason: string;
  created_at: Date;
  ends_at: Date;
  ended_at: Date | null;
};

/** Newest first. */
export async function increaseList(
  sql: Queryable,
  page: {
    organizationId: string;
    budgetId: string;
    beforeId: string;
    limit: number;
  },
): Promise<readonly IncreaseRow[]> {
  return await sql<IncreaseRow[]>`
    -- name: budget_increases.list
    select id, budget_id, amount_nano_usd, reason, created_at, ends_at, ended_at
    from budget_increases
    where organization_id = ${page.organizationId}
      and budget_id = ${page.budgetId}
      and id < ${page.beforeId}
    order by id desc
    limit ${page.limit}
  `;
}

export async function increaseInsert(
  transaction: Transaction,
  row: {
    organizationId: string;
    id: string;
    budgetId: string;
    amountNanoUsd: NanoUsd;
    reason: string;
    createdAt: Date;
    createdByUserId: string | null;
    endsAt: Date;
  },
): Promise<void> {
  await transaction`
    -- name: budget_increases.insert
    insert into budget_increases (
      organization_id, id, budget_id, amount_nano_usd, reason, created_at, created_by_user_id,
      ends_at
    )
    values (
      ${row.organizationId}, ${row.id}, ${row.budgetId}, ${row.amountNanoUsd}, ${row.reason},
      ${row.createdAt}, ${row.createdByUserId}, ${row.endsAt}
    )
  `;
}

/** How many raise the budget now. */
export async function increasesRunning(
  transaction: Transaction,
  budget: { organizationId: string; budgetId: string },
): Promise<number> {
  const [row] = await transaction<[{ count: number }]>`
    -- name: budget_increases.running
    select count(*)::integer as count
    from budget_increases
    where organization_id = ${budget.organizationId}
      and budget_id = ${budget.budgetId}
      and ended_at is null
  `;
  return row.count;
}

/** Ends one by hand. Answers false when there is none of this id that raises the budget. */
export async function increaseEnd(
  transaction: Transaction,
  row: {
    organizationId: string;
    budgetId: string;
    id: string;
    endedAt: Date;
    endedByUserId: string | null;
  },
): Promise<boolean> {
  const { count } = await transaction`
    -- name: budget_increases.end
    update budget_increases
    set ended_at = ${row.endedAt}, ended_by_user_id = ${row.endedByUserId}
    where organization_id = ${row.organizationId}
      and budget_id = ${row.budgetId}
      and id = ${row.id}
      and ended_at is null
  `;
  return count > 0;
}

/** Budgets with an increase that is over and not ended, in the order in which they are locked. */
export async function budgetsWithLapsedIncreases(
  sql: Queryable,
  now: Date,
  organizationId: string | null,
  rowsMax: number,
): Promise<readonly { organization_id: string; budget_id: string }[]> {
  return await sql<{ organization_id: string; budget_id: string }[]>`
    -- name: budget_increases.lapsed
    select distinct organization_id, budget_id
    from budget_increases
    where ended_at is null
      and ends_at <= ${now}
      and (${organizationId}::text is null or organization_id = ${organizationId})
    order by organization_id, budget_id
    limit ${rowsMax}
  `;
}

/** Ends those of a budget that are over. Answers their ids; the budget must be locked. */
export async function increasesEndLapsed(
  transaction: Transaction,
  budget: { organizationId: string; budgetId: string },
  now: Date,
): Promise<readonly string[]> {
  const rows = await transaction<{ id: string }[]>`
    -- name: budget_increases.end_lapsed
    update budget_increases
    set ended_at = ${now}
    where organization_id = ${budget.organizationId}
      and budget_id = ${budget.budgetId}
      and ended_at is null
      and ends_at <= ${now}
    returning id
  `;
  return rows.map(({ id }) => id);
}

/** Makes the budget's increase the sum of those that have not ended. */
export async function budgetSumIncreases(
  transaction: Transaction,
  budget: { organizationId: string; budgetId: string },
): Promise<void> {
  await transaction`
    -- name: budgets.sum_increases
    update budgets b
    set increase_nano_usd = (
      select coalesce(sum(i.amount_nano_usd), 0)::bigint
      from budget_increases i
      where i.organization_id = b.organization_id
        and i.budget_id = b.id
        and i.ended_at is null
    )
    where b.organization_id = ${budget.organizationId} and b.id = ${budget.budgetId}
  `;
}
