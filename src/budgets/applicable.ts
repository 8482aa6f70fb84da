/**
 * Which policies apply to a request. All of them count, not just the nearest: every hard cap must
 * have room, every allowlist must contain the model, the smallest per-request limit wins.
 */
import type { Queryable } from "../database/client.ts";
import { type NanoUsd, parseUsd } from "../money.ts";
import type { Scope, ScopeKind } from "../organizations/scopes.ts";
import {
  type RateLimit,
  type RatePeriod,
  type RateUnit,
  type RateWindow,
  rateWindowAt,
} from "./rate-window.ts";
import { type BudgetPeriod, type BudgetWindow, isWithin, windowAt } from "./window.ts";

/** A budget with a cap on it. Selectors are null where they select everything. */
export type Cap = {
  readonly policyId: string;
  /** A soft cap counts and raises alerts; it never refuses. */
  readonly isHard: boolean;
  readonly budgetId: string;
  readonly budgetName: string;
  readonly scope: Scope;
  readonly provider: string | null;
  readonly model: string | null;
  readonly environment: string | null;
  readonly period: BudgetPeriod;
  readonly timeZone: string;
  readonly anchor: string | null;
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
  readonly caps: readonly Cap[];
  readonly rateLimits: readonly RateLimit[];
  readonly allowlists: readonly Allowlist[];
  /** The smallest per-request limit over all scopes; null when there is none. */
  readonly requestMaxNanoUsd: NanoUsd | null;
};

type CapRow = {
  policy_id: string;
  is_hard: boolean;
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
};

type ScopedPolicyRow = {
  id: string;
  name: string;
  kind: string;
  settings: PolicySettings;
  created_at: Date;
};

type PolicySettings = {
  requestMaxUsd?: string;
  providers?: string[];
  models?: string[];
  unit?: RateUnit;
  limit?: string;
  period?: RatePeriod;
  provider?: string;
  model?: string;
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
    capsOfScopes(sql, organizationId, kinds, ids),
    policiesOfScopes(sql, organizationId, kinds, ids),
  ]);
  return {
    caps: caps.map(toCap),
    rateLimits: scoped.flatMap(toRateLimit),
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

/** What a call at this instant is held in. Each kind sorted by window id. */
export type ApplicableWindows = {
  /** One a budget with a hard cap in force: all must have room. */
  readonly hard: readonly CapWindow[];
  /** One a budget that is only capped softly. */
  readonly soft: readonly CapWindow[];
  readonly rates: readonly RateLimitWindow[];
};

export type CapWindow = { readonly cap: Cap; readonly window: BudgetWindow };
export type RateLimitWindow = { readonly limit: RateLimit; readonly window: RateWindow };

export function windowsOf(
  policies: GovernancePolicies,
  selection: Selection,
  at: Date,
): ApplicableWindows {
  const selected = policies.caps.filter((cap) => selects(cap, selection));
  const hard = capWindows(
    selected.filter(({ isHard }) => isHard),
    at,
  );
  // Two policies on one budget are one window, and money is held in it once.
  const isHard = (budgetId: string): boolean => hard.some(({ cap }) => cap.budgetId === budgetId);
  const soft = capWindows(
    selected.filter(({ budgetId }) => !isHard(budgetId)),
    at,
  );
  const rates = policies.rateLimits
    .filter((limit) => selects({ ...limit, environment: null }, selection))
    .map((limit) => ({ limit, window: rateWindowAt(limit, at) }));
  return { hard, soft, rates };
}

function capWindows(caps: readonly Cap[], at: Date): readonly CapWindow[] {
  const found: CapWindow[] = [];
  for (const cap of caps) {
    const window = windowOf(cap, at);
    if (window !== null && !found.some((other) => other.window.id === window.id)) {
      found.push({ cap, window });
    }
  }
  return found.sort((left, right) => (left.window.id < right.window.id ? -1 : 1));
}

/** The newest window of each cap, remembered as long as the cap itself. */
const newestWindows = new WeakMap<Cap, BudgetWindow>();

/** Counted anew only outside the newest window: after its end, or when the clock was set back. */
function windowOf(cap: Cap, at: Date): BudgetWindow | null {
  const newest = newestWindows.get(cap);
  if (newest !== undefined && isWithin(newest, at)) {
    return newest;
  }
  const window = windowAt({ ...cap, id: cap.budgetId }, at);
  if (window !== null) {
    newestWindows.set(cap, window);
  }
  return window;
}

type Selectors = Pick<Cap, "provider" | "model" | "environment">;

function selects(cap: Selectors, selection: Selection): boolean {
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

async function capsOfScopes(
  sql: Queryable,
  organizationId: string,
  scopeKinds: readonly string[],
  scopeIds: readonly string[],
): Promise<readonly CapRow[]> {
  return await sql<CapRow[]>`
    -- name: policies.caps_of_scopes
    select
      p.id as policy_id, p.kind = 'hard_cap' as is_hard, b.id as budget_id,
      b.name as budget_name, b.scope_kind, b.scope_id,
      b.provider, b.model, b.environment, b.period, b.time_zone, b.anchor, b.starts_at, b.ends_at,
      b.created_at
    from unnest(${scopeKinds}::text[], ${scopeIds}::text[]) as s(kind, id)
    join budgets b
      on b.organization_id = ${organizationId} and b.scope_kind = s.kind and b.scope_id = s.id
      and b.archived_at is null
    join policies p
      on p.organization_id = b.organization_id and p.budget_id = b.id
      and p.kind in ('hard_cap', 'soft_cap') and p.archived_at is null
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
    select p.id, p.name, p.kind, p.settings, p.created_at
    from unnest(${scopeKinds}::text[], ${scopeIds}::text[]) as s(kind, id)
    join policies p
      on p.organization_id = ${organizationId} and p.scope_kind = s.kind and p.scope_id = s.id
      and p.archived_at is null
    order by p.id
  `;
}

/** None for a policy of another kind. */
function toRateLimit({ id, name, kind, settings, created_at }: ScopedPolicyRow): RateLimit[] {
  if (kind !== "rate_limit" || settings.unit === undefined || settings.limit === undefined) {
    return [];
  }
  return [
    {
      policyId: id,
      policyName: name,
      unit: settings.unit,
      limit: BigInt(settings.limit),
      period: settings.period ?? null,
      provider: settings.provider ?? null,
      model: settings.model ?? null,
      createdAt: created_at,
    },
  ];
}

function toCap(row: CapRow): Cap {
  return {
    policyId: row.policy_id,
    isHard: row.is_hard,
    budgetId: row.budget_id,
    budgetName: row.budget_name,
    scope: { kind: row.scope_kind, id: row.scope_id },
    provider: row.provider,
    model: row.model,
    environment: row.environment,
    period: row.period,
    timeZone: row.time_zone,
    anchor: row.anchor,
    startsAt: row.starts_at,
    endsAt: row.ends_at,
    createdAt: row.created_at,
  };
}
