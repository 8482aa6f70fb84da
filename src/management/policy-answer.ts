/** What the API says of a policy, and reading one. */
import { z } from "zod";
import { type PolicyKind, type PolicyRow, policyList } from "../budgets/queries.ts";
import { RATE_PERIODS, RATE_UNITS } from "../budgets/rate-window.ts";
import type { Queryable } from "../database/client.ts";
import { PublicError, requireFound } from "../errors.ts";
import type { Member } from "../identity/member.ts";
import { instant, scopeAnswer, timeOrNull, usd } from "./fields.ts";
import { idPlace } from "./page.ts";
import { versionAnswer } from "./versioned.ts";

const KINDS = [
  "hard_cap",
  "soft_cap",
  "rate_limit",
  "allowlist",
  "per_request_limit",
  "review",
] as const;

export const POLICY_MODES = ["enforced", "shadow"] as const;

export const EXAMPLE_BUDGET_ID = "bud_01KAJ3M2YV8Q4T6W9ZB5C7D1E2";

const shadowAnswer = z
  .strictObject({ calls: z.int(), refusals: z.int() })
  .meta({ description: "Calls that it was evaluated for, and those that it would have refused." });

export const policyAnswer = z.strictObject({
  id: z.string(),
  name: z.string(),
  kind: z.enum(KINDS),
  mode: z.enum(POLICY_MODES).meta({
    description: "shadow: evaluated and counted, never enforced.",
  }),
  budgetId: z.string().nullable().meta({ description: "Set for caps." }),
  scope: scopeAnswer.nullable().meta({ description: "Null for caps: theirs is their budget's." }),
  requestMaxUsd: usd.nullable(),
  providers: z.array(z.string()).nullable().meta({ description: "Null: not restricted." }),
  models: z.array(z.string()).nullable(),
  tools: z.array(z.string()).nullable(),
  unit: z.enum(RATE_UNITS).nullable().meta({ description: "Set for rate limits." }),
  limit: z.int().nullable(),
  period: z.enum(RATE_PERIODS).nullable(),
  provider: z.string().nullable(),
  model: z.string().nullable(),
  aboveUsd: usd.nullable().meta({ description: "Set for reviews: dearer calls need a permit." }),
  shadow: shadowAnswer.nullable().meta({ description: "Null if it never was in shadow." }),
  version: versionAnswer,
  createdAt: instant,
  archivedAt: instant.nullable(),
});

/** What `createPolicy` wrote into `policies.settings`. */
const storedSettings = z.object({
  requestMaxUsd: z.string().nullish().default(null),
  providers: z.array(z.string()).nullish().default(null),
  models: z.array(z.string()).nullish().default(null),
  tools: z.array(z.string()).nullish().default(null),
  unit: z.enum(RATE_UNITS).nullish().default(null),
  limit: z.coerce.number().nullish().default(null),
  period: z.enum(RATE_PERIODS).nullish().default(null),
  provider: z.string().nullish().default(null),
  model: z.string().nullish().default(null),
  aboveUsd: z.string().nullish().default(null),
});

export const policyExample: z.output<typeof policyAnswer> = {
  id: "pol_01KAJ3M2YV8Q4T6W9ZB5C7D1E2",
  name: "Platform team may not pass its budget",
  kind: "hard_cap",
  mode: "enforced",
  budgetId: EXAMPLE_BUDGET_ID,
  scope: null,
  requestMaxUsd: null,
  providers: null,
  models: null,
  tools: null,
  unit: null,
  limit: null,
  period: null,
  provider: null,
  model: null,
  aboveUsd: null,
  shadow: null,
  version: 1,
  createdAt: "2026-11-21T09:30:00.000Z",
  archivedAt: null,
};

/** A policy as the API shows it. */
export function policyItem(row: PolicyRow): z.output<typeof policyAnswer> {
  const { scope_kind, scope_id } = row;
  return {
    id: row.id,
    name: row.name,
    kind: row.kind,
    mode: row.mode,
    budgetId: row.budget_id,
    scope:
      scope_kind === null || scope_id === null
        ? null
        : { kind: scope_kind, id: scope_id, name: row.scope_name },
    ...storedSettings.parse(row.settings),
    shadow:
      row.shadow_calls === null || row.shadow_refusals === null
        ? null
        : { calls: Number(row.shadow_calls), refusals: Number(row.shadow_refusals) },
    version: row.version,
    createdAt: row.created_at.toISOString(),
    archivedAt: timeOrNull(row.archived_at),
  };
}

/** Throws `not_found`. */
export async function readPolicy(
  sql: Queryable,
  organizationId: string,
  onlyId: string,
): Promise<z.output<typeof policyAnswer>> {
  const beforeId = idPlace("policy", { limit: 1 });
  const [row] = await policyList(sql, { organizationId, onlyId, beforeId, limit: 1 });
  return policyItem(requireFound(row, "policy"));
}

/** An allowlist needs `allowlist.write`, every other kind `policy.write`. */
export function requireKindAllowed(member: Member, kind: PolicyKind): void {
  const needed = kind === "allowlist" ? "allowlist.write" : "policy.write";
  if (!member.capabilities.includes(needed)) {
    throw new PublicError(
      "capability_missing",
      `Your role (${member.role ?? "none"}) may not write a policy of the kind ${kind}.`,
    );
  }
}
