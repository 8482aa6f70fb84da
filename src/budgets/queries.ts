/** SQL of budgets and policies: making and listing them. */
import type { Queryable } from "../database/client.ts";
import type { ScopeKind } from "../organizations/scopes.ts";
import type { BudgetPeriod } from "./window.ts";

export type PolicyKind =
  | "hard_cap"
  | "soft_cap"
  | "rate_limit"
  | "allowlist"
  | "per_request_limit"
  | "review";

/** What `policies.settings` holds, as JSON: amounts as decimal strings. */
export type PolicySettings = Readonly<Record<string, string | readonly string[]>>;

export type PolicyMode = "enforced" | "shadow";

type Page = { organizationId: string; beforeId: string; limit: number };

export async function budgetExists(
  sql: Queryable,
  organizationId: string,
  id: string,
): Promise<boolean> {
  const rows = await sql`
    -- name: budgets.exists
    select from budgets
    where organization_id = ${organizationId} and id = ${id} and archived_at is null
  `;
  return rows.length > 0;
}

export async function budgetInsert(
  sql: Queryable,
  row: {
    organizationId: string;
    id: string;
    name: string;
    scopeKind: ScopeKind;
    scopeId: string;
    provider: string | null;
    model: string | null;
    tool: string | null;
    environment: string | null;
    amountNanoUsd: bigint;
    period: BudgetPeriod;
    timeZone: string;
    anchor?: string | null;
    startsAt: Date | null;
    endsAt: Date | null;
    createdAt: Date;
  },
): Promise<void> {
  await sql`
    -- name: budgets.insert
    insert into budgets (
      organization_id, id, name, scope_kind, scope_id, provider, model, tool, environment,
      amount_nano_usd, period, time_zone, anchor, starts_at, ends_at, created_at
    )
    values (
      ${row.organizationId}, ${row.id}, ${row.name}, ${row.scopeKind}, ${row.scopeId},
      ${row.provider}, ${row.model}, ${row.tool}, ${row.environment}, ${row.amountNanoUsd},
      ${row.period}, ${row.timeZone}, ${row.anchor ?? null}, ${row.startsAt}, ${row.endsAt},
      ${row.createdAt}
    )
  `;
}

export type BudgetRow = {
  id: string;
  name: string;
  scope_kind: ScopeKind;
  scope_id: string;
  scope_name: string;
  provider: string | null;
  model: string | null;
  tool: string | null;
  environment: "production" | "staging" | "development" | null;
  amount_nano_usd: bigint;
  /** By how much temporary increases raise the amount now. */
  increase_nano_usd: bigint;
  period: BudgetPeriod;
  time_zone: string;
  anchor: string | null;
  starts_at: Date | null;
  ends_at: Date | null;
  version: number;
  created_at: Date;
  archived_at: Date | null;
  /** The newest window that contains the instant asked for; all null before the first request. */
  window_start: Date | null;
  window_end: Date | null;
  limit_nano_usd: bigint | null;
  settled_nano_usd: bigint | null;
  held_nano_usd: bigint | null;
};

/** Newest first. A budget that is named by `onlyId` is listed alone, also when it is archived. */
export async function budgetList(
  sql: Queryable,
  page: Page & { onlyId: string | null; now: Date },
): Promise<readonly BudgetRow[]> {
  return await sql<BudgetRow[]>`
    -- name: budgets.list
    select
      b.id, b.name, b.scope_kind, b.scope_id, ${scopeName(sql, "b")} as scope_name,
      b.provider, b.model, b.tool, b.environment, b.amount_nano_usd, b.increase_nano_usd,
      b.period, b.time_zone, b.anchor, b.starts_at, b.ends_at, b.version, b.created_at,
      b.archived_at,
      w.window_start, w.window_end, w.limit_nano_usd, w.settled_nano_usd, w.held_nano_usd
    from budgets b
    left join lateral (
      select
        n.window_start, n.window_end, n.limit_nano_usd, n.settled_nano_usd, n.held_nano_usd
      from budget_windows n
      where n.organization_id = b.organization_id
        and n.budget_id = b.id
        and n.window_start <= ${page.now}
        and (n.window_end is null or n.window_end > ${page.now})
      order by n.window_start desc
      limit 1
    ) w on true
    where b.organization_id = ${page.organizationId}
      and (b.archived_at is null or b.id = ${page.onlyId})
      and b.id < ${page.beforeId}
      and (${page.onlyId}::text is null or b.id = ${page.onlyId})
    order by b.id desc
    limit ${page.limit}
  `;
}

export async function policyInsert(
  sql: Queryable,
  row: {
    organizationId: string;
    id: string;
    name: string;
    kind: PolicyKind;
    mode: PolicyMode;
    budgetId: string | null;
    scopeKind: ScopeKind | null;
    scopeId: string | null;
    settings: PolicySettings;
    createdAt: Date;
  },
): Promise<void> {
  await sql`
    -- name: policies.insert
    insert into policies (
      organization_id, id, name, kind, mode, budget_id, scope_kind, scope_id, settings, created_at
    )
    values (
      ${row.organizationId}, ${row.id}, ${row.name}, ${row.kind}, ${row.mode}, ${row.budgetId},
      ${row.scopeKind}, ${row.scopeId}, ${sql.json(row.settings)}, ${row.createdAt}
    )
  `;
}

export type PolicyRow = {
  id: string;
  name: string;
  kind: PolicyKind;
  mode: PolicyMode;
  budget_id: string | null;
  scope_kind: ScopeKind | null;
  scope_id: string | null;
  scope_name: string | null;
  settings: PolicySettings;
  version: number;
  created_at: Date;
  archived_at: Date | null;
  /** What it would have done in shadow, all days together; null when it never was there. */
  shadow_calls: bigint | null;
  shadow_refusals: bigint | null;
};

/** Newest first. A policy that is named by `onlyId` is listed alone, also when it is archived. */
export async function policyList(
  sql: Queryable,
  page: Page & { onlyId: string | null },
): Promise<readonly PolicyRow[]> {
  return await sql<PolicyRow[]>`
    -- name: policies.list
    select
      p.id, p.name, p.kind, p.mode, p.budget_id, p.scope_kind, p.scope_id,
      ${scopeName(sql, "p")} as scope_name, p.settings, p.version, p.created_at, p.archived_at,
      d.calls as shadow_calls, d.refusals as shadow_refusals
    from policies p
    left join lateral (
      select sum(s.calls)::bigint as calls, sum(s.refusals)::bigint as refusals
      from policy_shadow_days s
      where s.organization_id = p.organization_id and s.policy_id = p.id
    ) d on true
    where p.organization_id = ${page.organizationId}
      and (p.archived_at is null or p.id = ${page.onlyId})
      and p.id < ${page.beforeId}
      and (${page.onlyId}::text is null or p.id = ${page.onlyId})
    order by p.id desc
    limit ${page.limit}
  `;
}

/** Whether a scope of this kind exists in the organization, whether archived or not. */
export async function scopeExists(
  sql: Queryable,
  scope: { organizationId: string; kind: ScopeKind; id: string },
): Promise<boolean> {
  const [row] = await sql<[{ is_known: boolean }]>`
    -- name: scopes.exists
    select ${scopeName(sql, "s")} is not null as is_known
    from (
      select
        ${scope.organizationId}::text as organization_id,
        ${scope.kind}::text as scope_kind,
        ${scope.id}::text as scope_id
    ) s
  `;
  return row.is_known;
}

/** The name of the scope that a row of `alias` names by scope_kind and scope_id, null if none. */
function scopeName(sql: Queryable, alias: "b" | "p" | "s") {
  const organizationId = sql(`${alias}.organization_id`);
  const scopeId = sql(`${alias}.scope_id`);
  return sql`
    case ${sql(`${alias}.scope_kind`)}
      when 'organization' then (
        select name from organizations where id = ${organizationId} and id = ${scopeId}
      )
      when 'branch' then (
        select name from branches where organization_id = ${organizationId} and id = ${scopeId}
      )
      when 'team' then (
        select name from teams where organization_id = ${organizationId} and id = ${scopeId}
      )
      when 'project' then (
        select name from projects where organization_id = ${organizationId} and id = ${scopeId}
      )
      when 'employee' then (
        select name from employees where organization_id = ${organizationId} and id = ${scopeId}
      )
      when 'agent' then (
        select name from agents
        where organization_id = ${organizationId} and id = ${scopeId} and parent_agent_id is null
      )
      when 'subagent' then (
        select name from agents
        where organization_id = ${organizationId}
          and id = ${scopeId}
          and parent_agent_id is not null
      )
      when 'api_key' then (
        select name from api_keys where organization_id = ${organizationId} and id = ${scopeId}
      )
    end
  `;
}

/** Answers how many were deleted. One that a call is still held in stays. */
export async function rateWindowDeleteEndedBefore(sql: Queryable, before: Date): Promise<number> {
  const { count } = await sql`
    -- name: rate_windows.delete_ended_before
    delete from rate_windows where window_end < ${before} and held_units = 0
  `;
  return count;
}
