/**
 * A new policy: what happens at a budget's limit (caps), how dear one request may be, how many
 * there may be (rate limits), which providers, models and tools are allowed at all, and which calls
 * a person must permit first (review). Not here: deciding a request by them.
 */
import { type Change, recordAuditEvent } from "../audit/audit-event.ts";
import type { Transaction } from "../database/client.ts";
import { PublicError } from "../errors.ts";
import { newId } from "../id.ts";
import { formatUsd, type NanoUsd } from "../money.ts";
import type { Scope } from "../organizations/scopes.ts";
import { refuseUnknownScope } from "./budget.ts";
import { budgetExists, type PolicyMode, type PolicySettings, policyInsert } from "./queries.ts";
import type { RatePeriod, RateUnit } from "./rate-window.ts";

/** A list that is absent restricts nothing. */
type Allowlist = {
  providers?: readonly string[] | undefined;
  models?: readonly string[] | undefined;
  tools?: readonly string[] | undefined;
};

/** Without a mode it is enforced. A soft cap cannot be in shadow: it refuses nothing. */
export type NewPolicy = { organizationId: string; name: string; mode?: PolicyMode } & (
  | { kind: "hard_cap" | "soft_cap"; budgetId: string }
  | { kind: "per_request_limit"; scope: Scope; requestMaxNanoUsd: NanoUsd }
  | { kind: "allowlist"; scope: Scope; allowed: Allowlist }
  | { kind: "rate_limit"; scope: Scope; rate: Rate }
  | { kind: "review"; scope: Scope; review: Review }
);

/** Which calls a person must permit first: those that can cost more than `aboveNanoUsd`. */
type Review = { aboveNanoUsd: NanoUsd; provider: string | null; model: string | null };

/** `period` is null for calls at the same time, and set for the other units. */
type Rate = {
  unit: RateUnit;
  limit: number;
  period: RatePeriod | null;
  provider: string | null;
  model: string | null;
};

/**
 * Creates a policy. Answers its id. Throws `invalid_request` naming the field when there is no such
 * budget or scope.
 */
export async function createPolicy(
  transaction: Transaction,
  policy: NewPolicy,
  change: Change,
): Promise<string> {
  const { organizationId, name, kind, mode = "enforced" } = policy;
  const budgetId = "budgetId" in policy ? policy.budgetId : null;
  const scope = "scope" in policy ? policy.scope : null;
  if (budgetId !== null && !(await budgetExists(transaction, organizationId, budgetId))) {
    throw new PublicError("invalid_request", "There is no such budget.", { param: "budgetId" });
  }
  if (scope !== null) {
    await refuseUnknownScope(transaction, organizationId, scope);
  }
  const row = {
    organizationId,
    id: newId("policy", change.at),
    name,
    kind,
    mode,
    budgetId,
    scopeKind: scope?.kind ?? null,
    scopeId: scope?.id ?? null,
    settings: settingsOf(policy),
    createdAt: change.at,
  };
  await policyInsert(transaction, row);
  const { settings, scopeKind, scopeId } = row;
  await recordAuditEvent(
    transaction,
    {
      organizationId,
      action: "policy.create",
      subjectId: row.id,
      after: { name, kind, mode, budgetId, scopeKind, scopeId, ...settings },
    },
    change,
  );
  return row.id;
}

function settingsOf(policy: NewPolicy): PolicySettings {
  switch (policy.kind) {
    case "hard_cap":
    case "soft_cap":
      return {};
    case "per_request_limit":
      return { requestMaxUsd: formatUsd(policy.requestMaxNanoUsd) };
    case "allowlist": {
      const { providers, models, tools } = policy.allowed;
      return {
        ...(providers === undefined ? {} : { providers }),
        ...(models === undefined ? {} : { models }),
        ...(tools === undefined ? {} : { tools }),
      };
    }
    case "rate_limit": {
      const { unit, limit, period, provider, model } = policy.rate;
      return {
        unit,
        limit: String(limit),
        ...(period === null ? {} : { period }),
        ...(provider === null ? {} : { provider }),
        ...(model === null ? {} : { model }),
      };
    }
    case "review": {
      const { aboveNanoUsd, provider, model } = policy.review;
      return {
        aboveUsd: formatUsd(aboveNanoUsd),
        ...(provider === null ? {} : { provider }),
        ...(model === null ? {} : { model }),
      };
    }
  }
}
