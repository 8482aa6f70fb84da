/**
 * Which policies apply to a request. All of them count, not just the nearest: every hard cap must
 * have room, every allowlist must contain the model, the smallest per-request limit wins.
 */
import type { Queryable } from "../database/client.ts";
import { type NanoUsd, parseUsd } from "../money.ts";
import type { Scope } from "../organizations/scopes.ts";
import {
  type CapRow,
  capsOfScopes,
  policiesOfScopes,
  type ScopedPolicyRow,
} from "./policy-rows.ts";
import { type RateLimit, type RateWindow, rateWindowAt } from "./rate-window.ts";
import { type BudgetPeriod, type BudgetWindow, isWithin, windowAt } from "./window.ts";

/** A budget with a cap on it. Selectors are null where they select everything. */
export type Cap = {
  readonly policyId: string;
  readonly policyName: string;
  /** Whether it refuses. A soft cap, and a hard cap in shadow, count and raise alerts. */
  readonly isHard: boolean;
  /** A hard cap that is tried out: what it would refuse is counted. */
  readonly isShadow: boolean;
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
  readonly policyName: string;
  readonly providers: readonly string[] | null;
  readonly models: readonly string[] | null;
};

export type RequestLimit = {
  readonly policyId: string;
  readonly policyName: string;
  readonly requestMaxNanoUsd: NanoUsd;
};

/** Calls that can cost more than this need a person's permit. */
export type ReviewRule = {
  readonly policyId: string;
  readonly policyName: string;
  readonly aboveNanoUsd: NanoUsd;
  readonly provider: string | null;
  readonly model: string | null;
};

export type GovernancePolicies = {
  /** Of every mode: they are held in windows, which count either way. */
  readonly caps: readonly Cap[];
  readonly rateLimits: readonly RateLimit[];
  readonly allowlists: readonly Allowlist[];
  readonly requestLimits: readonly RequestLimit[];
  /** The smallest per-request limit over all scopes; null when there is none. */
  readonly requestMaxNanoUsd: NanoUsd | null;
  readonly reviews: readonly ReviewRule[];
  /** What is evaluated and never enforced; null when nothing is. */
  readonly shadow: ShadowPolicies | null;
  /** When the first of the budgets' increases ends; null when there is none. */
  readonly increaseEndsAt: Date | null;
};

export type ShadowPolicies = {
  readonly allowlists: readonly Allowlist[];
  readonly requestLimits: readonly RequestLimit[];
  readonly reviews: readonly ReviewRule[];
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
  const enforced = scoped.filter(({ mode }) => mode === "enforced");
  const requestLimits = enforced.flatMap(toRequestLimit);
  const hasShadow = [...caps, ...scoped].some(({ mode }) => mode === "shadow");
  return {
    caps: caps.map(toCap),
    rateLimits: scoped.flatMap(toRateLimit),
    allowlists: enforced.flatMap(toAllowlist),
    requestLimits,
    requestMaxNanoUsd: smallest(requestLimits.map(({ requestMaxNanoUsd }) => requestMaxNanoUsd)),
    reviews: enforced.flatMap(toReviewRule),
    shadow: hasShadow ? shadowOf(scoped.filter(({ mode }) => mode === "shadow")) : null,
    increaseEndsAt: smallest(caps.flatMap(({ increase_ends_at: at }) => (at === null ? [] : [at]))),
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
    .filter((limit) => selects(limit, selection))
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

/** What policies in shadow count this call in, by policy. */
export function shadowWindowsOf(
  { caps, rateLimits }: GovernancePolicies,
  selection: Selection,
  at: Date,
): readonly { readonly policyId: string; readonly windowId: string }[] {
  const shadowCaps = caps.filter((cap) => cap.isShadow && selects(cap, selection));
  const shadowRates = rateLimits.filter((limit) => limit.isShadow && selects(limit, selection));
  return [
    ...shadowCaps.flatMap((cap) => {
      const window = windowOf(cap, at);
      return window === null ? [] : [{ policyId: cap.policyId, windowId: window.id }];
    }),
    ...shadowRates.map((limit) => ({
      policyId: limit.policyId,
      windowId: rateWindowAt(limit, at).id,
    })),
  ];
}

/** The review policies that a call of this bound falls under. */
export function reviewsOf(
  reviews: readonly ReviewRule[],
  selection: Selection,
  amountNanoUsd: NanoUsd,
): readonly ReviewRule[] {
  return reviews.filter((rule) => amountNanoUsd > rule.aboveNanoUsd && selects(rule, selection));
}

/** Null, and an environment that is not there, select everything. */
type Selectors = Pick<Cap, "provider" | "model"> & Partial<Pick<Cap, "environment">>;

/** Whether selectors select a call. */
export function selects(by: Selectors, selection: Selection): boolean {
  return (
    (by.provider === null || by.provider === selection.provider) &&
    (by.model === null || by.model === selection.model) &&
    (by.environment == null || by.environment === selection.environment)
  );
}

function smallest<Value extends bigint | Date>(values: readonly Value[]): Value | null {
  return values.reduce<Value | null>(
    (least, value) => (least === null || value < least ? value : least),
    null,
  );
}

function shadowOf(rows: readonly ScopedPolicyRow[]): ShadowPolicies {
  return {
    allowlists: rows.flatMap(toAllowlist),
    requestLimits: rows.flatMap(toRequestLimit),
    reviews: rows.flatMap(toReviewRule),
  };
}

// Each answers none for a policy of another kind.

function toAllowlist({ id, name, kind, settings }: ScopedPolicyRow): Allowlist[] {
  const { providers = null, models = null } = settings;
  return kind === "allowlist" ? [{ policyId: id, policyName: name, providers, models }] : [];
}

function toRequestLimit({ id, name, kind, settings }: ScopedPolicyRow): RequestLimit[] {
  const { requestMaxUsd } = settings;
  return kind === "per_request_limit" && requestMaxUsd !== undefined
    ? [{ policyId: id, policyName: name, requestMaxNanoUsd: parseUsd(requestMaxUsd) }]
    : [];
}

function toReviewRule({ id, name, kind, settings }: ScopedPolicyRow): ReviewRule[] {
  const { provider = null, model = null, aboveUsd = "0" } = settings;
  const rule = { policyId: id, policyName: name, aboveNanoUsd: parseUsd(aboveUsd) };
  return kind === "review" ? [{ ...rule, provider, model }] : [];
}

function toRateLimit(row: ScopedPolicyRow): RateLimit[] {
  const { kind, settings } = row;
  if (kind !== "rate_limit" || settings.unit === undefined || settings.limit === undefined) {
    return [];
  }
  return [
    {
      policyId: row.id,
      policyName: row.name,
      isShadow: row.mode === "shadow",
      scope: { kind: row.scope_kind, id: row.scope_id },
      unit: settings.unit,
      limit: BigInt(settings.limit),
      period: settings.period ?? null,
      provider: settings.provider ?? null,
      model: settings.model ?? null,
      createdAt: row.created_at,
    },
  ];
}

function toCap(row: CapRow): Cap {
  return {
    policyId: row.policy_id,
    policyName: row.policy_name,
    isHard: row.kind === "hard_cap" && row.mode === "enforced",
    isShadow: row.mode === "shadow",
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
