/** SQL of the policies in force for a key's scopes, read whenever its authority is loaded. */
import type { Queryable } from "../database/client.ts";
import type { ScopeKind } from "../organizations/scopes.ts";
import type { PolicyKind, PolicyMode } from "./queries.ts";
import type { RatePeriod, RateUnit } from "./rate-window.ts";
import type { BudgetPeriod } from "./window.ts";

export type CapRow = {
  policy_id: string;
  policy_name: string;
  kind: "hard_cap" | "soft_cap";
  mode: PolicyMode;
  budget_id: string;
  budget_name: string;
  scope_kind: ScopeKind;
  scope_id: string;
  provider: string | null;
  model: string | null;
  environment: string | null;
  period: BudgetPeriod;
  time_zone: string;
  anchor: string | null;
  starts_at: Date | null;
  ends_at: Date | null;
  created_at: Date;
  /** The earliest end of the increases that raise the budget now. */
  increase_ends_at: Date | null;
};

export type ScopedPolicyRow = {
  id: string;
  name: string;
  kind: PolicyKind;
  mode: PolicyMode;
  scope_kind: ScopeKind;
  scope_id: string;
  settings: PolicySettings;
  created_at: Date;
};

/** What `policies.settings` holds, as policy.ts writes it. */
type PolicySettings = {
  requestMaxUsd?: string;
  aboveUsd?: string;
  providers?: string[];
  models?: string[];
  unit?: RateUnit;
  limit?: string;
  period?: RatePeriod;
  provider?: string;
  model?: string;
};

export async function capsOfScopes(
  sql: Queryable,
  organizationId: string,
  scopeKinds: readonly string[],
  scopeIds: readonly string[],
): Promise<readonly CapRow[]> {
  return await sql<CapRow[]>`
    -- name: policies.caps_of_scopes
    select
      p.id as policy_id, p.name as policy_name, p.kind, p.mode, b.id as budget_id,
      b.name as budget_name, b.scope_kind, b.scope_id, b.provider, b.model, b.environment,
      b.period, b.time_zone, b.anchor, b.starts_at, b.ends_at, b.created_at,
      case
        when b.increase_nano_usd > 0 then (
          select min(i.ends_at)
          from budget_increases i
          where i.organization_id = b.organization_id
            and i.budget_id = b.id
            and i.ended_at is null
        )
      end as increase_ends_at
    from unnest(${scopeKinds}::text[], ${scopeIds}::text[]) as s(kind, id)
    join budgets b
      on b.organization_id = ${organizationId} and b.scope_kind = s.kind and b.scope_id = s.id
      and b.archived_at is null
    join policies p
      on p.organization_id = b.organization_id and p.budget_id = b.id
      and p.kind in ('hard_cap', 'soft_cap') and p.archived_at is null
    where b.tool is null
    order by b.id, p.id
  `;
}

export async function policiesOfScopes(
  sql: Queryable,
  organizationId: string,
  scopeKinds: readonly string[],
  scopeIds: readonly string[],
): Promise<readonly ScopedPolicyRow[]> {
  return await sql<ScopedPolicyRow[]>`
    -- name: policies.of_scopes
    select p.id, p.name, p.kind, p.mode, p.scope_kind, p.scope_id, p.settings, p.created_at
    from unnest(${scopeKinds}::text[], ${scopeIds}::text[]) as s(kind, id)
    join policies p
      on p.organization_id = ${organizationId} and p.scope_kind = s.kind and p.scope_id = s.id
      and p.archived_at is null
    order by p.id
  `;
}
