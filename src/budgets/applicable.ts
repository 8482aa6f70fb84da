/**
 * Which policies apply to a request. All of them count, not just the nearest: every hard cap must
 * have room, every allowlist must contain the model, the smallest per-request limit wins.
 */
import type { Queryable } from "../database/client.ts";
import { type NanoUsd, parseUsd } from "../money.ts";
import type { Scope, ScopeKind } from "../organizations/scopes.ts";
import { type BudgetPeriod, type BudgetWindow, windowAt } from "./window.ts";

/** A budget with a hard cap on it. Selectors are null where they select everything. */
export type HardCap = {
  readonly policyId: string;
  readonly budgetId: string;
  readonly budgetName: string;
  readonly scope: Scope;
  readonly provider: string | null;
  readonly model: string | null;
  readonly environment: string | null;
  readonly period: BudgetPeriod;
  readonly timeZone: string;
  readonly startsAt: Date | null;
  readonly endsAt: Date | null;
  readonly createdAt: Date;
};

export type Allowlist = {
  readonly policyId: string;
  readonly providers: readonly string[] | null;
  readonly models: readonly string[] | null;
};

export type GovernancePolicies = {
  readonly hardCaps: readonly HardCap[];
  readonly allowlists: readonly Allowlist[];
  /** The smallest per-request limit over all scopes; null when there is none. */
  readonly requestMaxNanoUsd: NanoUsd | null;
};

type CapRow = {
  policy_id: string;
  budget_id: string;
  budget_name: string;
  scope_kind: ScopeKind;
  scope_id: string;
  provider: string | null;
  model: string | null;
  environment: string | null;
  period: BudgetPeriod;
  time_zone: string;
  starts_at: Date | null;
  ends_at: Date | null;
  created_at: Date;
};

type ScopedPolicyRow = { id: string; kind: string; settings: PolicySettings };

type PolicySettings = {
  requestMaxUsd?: string;
  providers?: string[];
  models?: string[];
};

/** What a request draws on, to tell which selectors select it. */
export type Selection = { provider: string; model: string; environment: string };

/** Reads the policies in force for these scopes. */
export async function readPolicies(
  sql: Queryable,
  organizationId: string,
  scopes: readonly Scope[],
): Promise<GovernancePolicies> {
  const kinds = scopes.map(({ kind }) => kind);
  const ids = scopes.map(({ id }) => id);
  const [caps, scoped] = await Promise.all([
    hardCapsOfScopes(sql, organizationId, kinds, ids),
    policiesOfScopes(sql, organizationId, kinds, ids),
  ]);
  return {
    hardCaps: caps.map(toHardCap),
    allowlists: scoped
      .filter(({ kind }) => kind === "allowlist")
      .map(({ id, settings }) => ({
        policyId: id,
        providers: settings.providers ?? null,
        models: settings.models ?? null,
      })),
    requestMaxNanoUsd: smallestLimit(scoped),
  };
}

/** The windows that a call at this instant must fit into, one a hard cap in force, sorted by id. */
export function windowsOf(
  policies: GovernancePolicies,
  selection: Selection,
  at: Date,
): readonly { cap: HardCap; window: BudgetWindow }[] {
  const found: { cap: HardCap; window: BudgetWindow }[] = [];
  for (const cap of policies.hardCaps) {
    const window = selects(cap, selection) ? windowAt({ ...cap, id: cap.budgetId }, at) : null;
    // Two policies on one budget are one window, and money is held in it once.
    if (window !== null && !found.some((other) => other.window.id === window.id)) {
      found.push({ cap, window });
    }
  }
  return found.sort((left, right) => (left.window.id < right.window.id ? -1 : 1));
}

function selects(cap: HardCap, selection: Selection): boolean {
  return (
    (cap.provider === null || cap.provider === selection.provider) &&
    (cap.model === null || cap.model === selection.model) &&
    (cap.environment === null || cap.environment === selection.environment)
  );
}

function smallestLimit(rows: readonly ScopedPolicyRow[]): NanoUsd | null {
  let smallest: NanoUsd | null = null;
  for (const { kind, settings } of rows) {
    if (kind === "per_request_limit" && settings.requestMaxUsd !== undefined) {
      const limitNanoUsd = parseUsd(settings.requestMaxUsd);
      smallest = smallest === null || limitNanoUsd < smallest ? limitNanoUsd : smallest;
    }
  }
  return smallest;
}

async function hardCapsOfScopes(
  sql: Queryable,
  organizationId: string,
  scopeKinds: readonly string[],
  scopeIds: readonly string[],
): Promise<readonly CapRow[]> {
  return await sql<CapRow[]>`
    -- name: policies.hard_caps_of_scopes
    select
      p.id as policy_id, b.id as budget_id, b.name as budget_name, b.scope_kind, b.scope_id,
      b.provider, b.model, b.environment, b.period, b.time_zone, b.starts_at, b.ends_at,
      b.created_at
    from unnest(${scopeKinds}::text[], ${scopeIds}::text[]) as s(kind, id)
    join budgets b
      on b.organization_id = ${organizationId} and b.scope_kind = s.kind and b.scope_id = s.id
      and b.archived_at is null
    join policies p
      on p.organization_id = b.organization_id and p.budget_id = b.id
      and p.kind = 'hard_cap' and p.archived_at is null
    where b.tool is null
    order by b.id
  `;
}

async function policiesOfScopes(
  sql: Queryable,
  organizationId: string,
  scopeKinds: readonly string[],
  scopeIds: readonly string[],
): Promise<readonly ScopedPolicyRow[]> {
  return await sql<ScopedPolicyRow[]>`
    -- name: policies.of_scopes
    select p.id, p.kind, p.settings
    from unnest(${scopeKinds}::text[], ${scopeIds}::text[]) as s(kind, id)
    join policies p
      on p.organization_id = ${organizationId} and p.scope_kind = s.kind and p.scope_id = s.id
      and p.archived_at is null
    order by p.id
  `;
}

function toHardCap(row: CapRow): HardCap {
  return {
    policyId: row.policy_id,
    budgetId: row.budget_id,
    budgetName: row.budget_name,
    scope: { kind: row.scope_kind, id: row.scope_id },
    provider: row.provider,
    model: row.model,
    environment: row.environment,
    period: row.period,
    timeZone: row.time_zone,
    startsAt: row.starts_at,
    endsAt: row.ends_at,
    createdAt: row.created_at,
  };
}
