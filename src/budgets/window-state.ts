/** What windows hold at this moment, read and not locked: for reports, never for a decision. */
import type { Queryable } from "../database/client.ts";

/** Nano-USD of a budget's window, or requests, tokens or calls of a rate limit's. */
export type WindowUse = { readonly limit: bigint; readonly used: bigint; readonly held: bigint };

type Named = { readonly id: string; readonly ownerId: string };

type UseRow = { id: string; limit: bigint; used: bigint; held: bigint };

/**
 * The windows of budgets (`ownerId` is the budget) and of rate limits (the policy) by their ids.
 * One that no call has opened yet is empty and has the limit that it will be opened with.
 */
export async function windowUses(
  sql: Queryable,
  organizationId: string,
  windows: { readonly budgets: readonly Named[]; readonly rates: readonly Named[] },
): Promise<ReadonlyMap<string, WindowUse>> {
  const { budgets, rates } = windows;
  // One statement: what budgets and rate limits say is of one moment.
  const rows = await sql<UseRow[]>`
    -- name: windows.uses
    select
      i.id, coalesce(w.limit_nano_usd, b.amount_nano_usd + b.increase_nano_usd) as limit,
      coalesce(w.settled_nano_usd, 0) as used, coalesce(w.held_nano_usd, 0) as held
    from unnest(
      ${budgets.map(({ id }) => id)}::text[],
      ${budgets.map(({ ownerId }) => ownerId)}::text[]
    ) as i(id, budget_id)
    join budgets b on b.organization_id = ${organizationId} and b.id = i.budget_id
    left join budget_windows w on w.organization_id = ${organizationId} and w.id = i.id
    union all
    select
      i.id, (p.settings ->> 'limit')::bigint, coalesce(w.used_units, 0), coalesce(w.held_units, 0)
    from unnest(
      ${rates.map(({ id }) => id)}::text[],
      ${rates.map(({ ownerId }) => ownerId)}::text[]
    ) as i(id, policy_id)
    join policies p on p.organization_id = ${organizationId} and p.id = i.policy_id
    left join rate_windows w on w.organization_id = ${organizationId} and w.id = i.id
  `;
  return new Map(rows.map(({ id, limit, used, held }) => [id, { limit, used, held }]));
}
