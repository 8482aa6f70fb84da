/** Policies: listing and making them. */

import { z } from "zod";
import { createPolicy, type NewPolicy } from "../budgets/policy.ts";
import { type PolicyRow, policyList } from "../budgets/queries.ts";
import { RATE_PERIODS, RATE_UNITS } from "../budgets/rate-window.ts";
import { inTransaction } from "../database/transaction.ts";
import { PublicError } from "../errors.ts";
import type { Member } from "../identity/session.ts";
import type { Dependencies } from "./dependencies.ts";
import { type Endpoint, noBody, noParams, noQuery, type Resource } from "./endpoint.ts";
import {
  idField,
  instant,
  listField,
  modelField,
  modelGrantField,
  nameField,
  positiveAmountField,
  providerField,
  scopeAnswer,
  scopeField,
  usd,
} from "./fields.ts";
import { memberEndpoint } from "./member-endpoint.ts";
import { cursorOfId, idPlace, pageAnswer, pageOf, pageQuery } from "./page.ts";

const KINDS = [
  "hard_cap",
  "soft_cap",
  "rate_limit",
  "allowlist",
  "per_request_limit",
  "review",
] as const;

/** Far above any real limit, and exact in JSON. */
const RATE_LIMIT_MAX = 1_000_000_000_000;
const EXAMPLE_BUDGET_ID = "bud_01KAJ3M2YV8Q4T6W9ZB5C7D1E2";

/** An empty list would allow nothing at all, which nobody writes on purpose. */
function allowedField<Item extends z.ZodType>(item: Item) {
  return listField(item).min(1, "must name at least one, or be left out").optional();
}

const capBody = z.strictObject({
  name: nameField,
  kind: z.enum(["hard_cap", "soft_cap"]),
  budgetId: idField("budget", EXAMPLE_BUDGET_ID),
});

const limitBody = z.strictObject({
  name: nameField,
  kind: z.literal("per_request_limit"),
  scope: scopeField,
  requestMaxUsd: positiveAmountField,
});

const allowlistBody = z.strictObject({
  name: nameField,
  kind: z.literal("allowlist"),
  scope: scopeField,
  providers: allowedField(providerField),
  models: allowedField(modelGrantField),
  tools: allowedField(modelField),
});

const rateBody = z.strictObject({
  name: nameField,
  kind: z.literal("rate_limit"),
  scope: scopeField,
  unit: z.enum(RATE_UNITS).meta({
    description:
      "requests: calls admitted; tokens: held at the most a call can use, then what it used; " +
      "concurrent_calls: calls that run at the same time.",
  }),
  limit: z.int("must be a whole number").min(0, "must not be below 0").max(RATE_LIMIT_MAX),
  period: z
    .enum(RATE_PERIODS)
    .optional()
    .meta({
      description:
        "A whole minute, hour or day of UTC. Needed for requests and tokens; " +
        "calls at the same time have none.",
    }),
  provider: providerField.optional(),
  model: modelField.optional(),
});

const createBody = z.discriminatedUnion("kind", [capBody, limitBody, allowlistBody, rateBody], {
  error: (issue) =>
    issue.code === "invalid_union"
      ? "must be hard_cap, soft_cap, rate_limit, per_request_limit or allowlist; " +
        "review cannot be made in this version"
      : undefined,
});

const policyAnswer = z.strictObject({
  id: z.string(),
  name: z.string(),
  kind: z.enum(KINDS),
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
  version: z.int(),
  createdAt: instant,
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
});

const example: z.output<typeof policyAnswer> = {
  id: "pol_01KAJ3M2YV8Q4T6W9ZB5C7D1E2",
  name: "Platform team may not pass its budget",
  kind: "hard_cap",
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
  version: 1,
  createdAt: "2026-11-21T09:30:00.000Z",
};

export function policyResource(dependencies: Dependencies): Resource {
  return {
    prefix: "/policies",
    tag: "Policies",
    endpoints: [listEndpoint(dependencies), createEndpoint(dependencies)],
  };
}

function listEndpoint(dependencies: Dependencies): Endpoint {
  return memberEndpoint(dependencies, {
    method: "GET",
    path: "",
    summary: "List policies",
    description: "Newest first.",
    params: noParams,
    query: pageQuery,
    body: noBody,
    capabilities: ["policy.read"],
    answer: pageAnswer(policyAnswer),
    answerExample: { items: [example], nextCursor: null },
    run: async ({ query, member }) => {
      const rows = await policyList(dependencies.sql, {
        organizationId: member.organization.id,
        onlyId: null,
        beforeId: idPlace("policy", query),
        limit: query.limit + 1,
      });
      return pageOf(rows, query.limit, itemOf, cursorOfId);
    },
  });
}

function createEndpoint(dependencies: Dependencies): Endpoint {
  return memberEndpoint(dependencies, {
    method: "POST",
    path: "",
    summary: "Create a policy",
    description:
      "Caps name a budget; every other kind names a scope. An allowlist needs the capability " +
      "allowlist.write, the others policy.write. In force from the next request on.",
    params: noParams,
    query: noQuery,
    body: createBody,
    bodyExample: { name: example.name, kind: "hard_cap", budgetId: EXAMPLE_BUDGET_ID },
    capabilities: ["policy.write", "allowlist.write"],
    answer: policyAnswer,
    answerExample: example,
    status: 201,
    run: async ({ body, member, change }) => {
      requireKindAllowed(member, body.kind);
      const { id: organizationId } = member.organization;
      return await inTransaction(dependencies.sql, async (transaction) => {
        const onlyId = await createPolicy(transaction, newPolicyOf(body, organizationId), change);
        const beforeId = idPlace("policy", { limit: 1 });
        const [row] = await policyList(transaction, { organizationId, onlyId, beforeId, limit: 1 });
        if (row === undefined) {
          throw new PublicError("not_found", "There is no such policy.");
        }
        return itemOf(row);
      });
    },
  });
}

function newPolicyOf(body: z.output<typeof createBody>, organizationId: string): NewPolicy {
  const { name } = body;
  switch (body.kind) {
    case "hard_cap":
    case "soft_cap":
      return { organizationId, name, kind: body.kind, budgetId: body.budgetId };
    case "per_request_limit":
      return {
        organizationId,
        name,
        kind: body.kind,
        scope: body.scope,
        requestMaxNanoUsd: body.requestMaxUsd,
      };
    case "allowlist": {
      const { providers, models, tools } = body;
      if (providers === undefined && models === undefined && tools === undefined) {
        throw new PublicError("invalid_request", "Name providers, models or tools to allow.", {
          param: "models",
        });
      }
      const allowed = { providers, models, tools };
      return { organizationId, name, kind: body.kind, scope: body.scope, allowed };
    }
    case "rate_limit": {
      const { unit, limit, period = null, provider = null, model = null } = body;
      if ((unit === "concurrent_calls") !== (period === null)) {
        throw new PublicError(
          "invalid_request",
          period === null
            ? `A limit of ${unit} needs a period: ${RATE_PERIODS.join(", ")}.`
            : "Calls at the same time have no period: leave it out.",
          { param: "period" },
        );
      }
      const rate = { unit, limit, period, provider, model };
      return { organizationId, name, kind: body.kind, scope: body.scope, rate };
    }
  }
}

function requireKindAllowed(member: Member, kind: NewPolicy["kind"]): void {
  const needed = kind === "allowlist" ? "allowlist.write" : "policy.write";
  if (!member.capabilities.includes(needed)) {
    throw new PublicError(
      "capability_missing",
      `Your role (${member.role ?? "none"}) may not create a policy of the kind ${kind}.`,
    );
  }
}

function itemOf(row: PolicyRow): z.output<typeof policyAnswer> {
  const { scope_kind, scope_id } = row;
  return {
    id: row.id,
    name: row.name,
    kind: row.kind,
    budgetId: row.budget_id,
    scope:
      scope_kind === null || scope_id === null
        ? null
        : { kind: scope_kind, id: scope_id, name: row.scope_name },
    ...storedSettings.parse(row.settings),
    version: row.version,
    createdAt: row.created_at.toISOString(),
  };
}
