/** Policies: listing, reading and making them. Changing them is in policy-changes.ts. */
import { z } from "zod";
import { createPolicy, type NewPolicy } from "../budgets/policy.ts";
import { policyList } from "../budgets/queries.ts";
import { RATE_PERIODS, RATE_UNITS } from "../budgets/rate-window.ts";
import { inTransaction } from "../database/transaction.ts";
import { PublicError } from "../errors.ts";
import type { Dependencies } from "./dependencies.ts";
import { type Endpoint, noBody, noParams, noQuery, type Resource } from "./endpoint.ts";
import {
  amountField,
  idField,
  modelField,
  modelGrantField,
  nameField,
  positiveAmountField,
  providerField,
  scopeField,
} from "./fields.ts";
import { memberEndpoint } from "./member-endpoint.ts";
import { cursorOfId, idPlace, pageAnswer, pageOf, pageQuery } from "./page.ts";
import {
  EXAMPLE_BUDGET_ID,
  POLICY_MODES,
  policyAnswer,
  policyExample,
  policyItem,
  readPolicy,
  requireKindAllowed,
} from "./policy-answer.ts";
import {
  allowedField,
  archivePolicyEndpoint,
  changePolicyEndpoint,
  rateLimitField,
} from "./policy-changes.ts";
import { dryRunEndpoint } from "./policy-dry-run.ts";

const modeField = z.enum(POLICY_MODES).default("enforced").meta({
  description: "shadow: evaluated and counted, never enforced. Not for a soft cap.",
});

const hardCapBody = z.strictObject({
  name: nameField,
  kind: z.literal("hard_cap"),
  mode: modeField,
  budgetId: idField("budget", EXAMPLE_BUDGET_ID),
});

const softCapBody = hardCapBody.omit({ mode: true }).extend({ kind: z.literal("soft_cap") });

const limitBody = z.strictObject({
  name: nameField,
  kind: z.literal("per_request_limit"),
  mode: modeField,
  scope: scopeField,
  requestMaxUsd: positiveAmountField,
});

const allowlistBody = z.strictObject({
  name: nameField,
  kind: z.literal("allowlist"),
  mode: modeField,
  scope: scopeField,
  providers: allowedField(providerField),
  models: allowedField(modelGrantField),
  tools: allowedField(modelField),
});

const rateBody = z.strictObject({
  name: nameField,
  kind: z.literal("rate_limit"),
  mode: modeField,
  scope: scopeField,
  unit: z.enum(RATE_UNITS).meta({
    description:
      "requests: calls admitted; tokens: held at the most a call can use, then what it used; " +
      "concurrent_calls: calls that run at the same time.",
  }),
  limit: rateLimitField,
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

const reviewBody = z.strictObject({
  name: nameField,
  kind: z.literal("review"),
  mode: modeField,
  scope: scopeField,
  aboveUsd: amountField.meta({ description: "Calls that can cost more need a permit." }),
  provider: providerField.optional(),
  model: modelField.optional(),
});

const createBody = z.discriminatedUnion(
  "kind",
  [hardCapBody, softCapBody, limitBody, allowlistBody, rateBody, reviewBody],
  {
    error: (issue) =>
      issue.code === "invalid_union"
        ? "must be hard_cap, soft_cap, rate_limit, per_request_limit, allowlist or review"
        : undefined,
  },
);

export function policyResource(dependencies: Dependencies): Resource {
  return {
    prefix: "/policies",
    tag: "Policies",
    endpoints: [
      listEndpoint(dependencies),
      createEndpoint(dependencies),
      readEndpoint(dependencies),
      changePolicyEndpoint(dependencies),
      archivePolicyEndpoint(dependencies),
      dryRunEndpoint(dependencies),
    ],
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
    answerExample: { items: [policyExample], nextCursor: null },
    run: async ({ query, member }) => {
      const rows = await policyList(dependencies.sql, {
        organizationId: member.organization.id,
        onlyId: null,
        beforeId: idPlace("policy", query),
        limit: query.limit + 1,
      });
      return pageOf(rows, query.limit, policyItem, cursorOfId);
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
    bodyExample: { name: policyExample.name, kind: "hard_cap", budgetId: EXAMPLE_BUDGET_ID },
    capabilities: ["policy.write", "allowlist.write"],
    answer: policyAnswer,
    answerExample: policyExample,
    status: 201,
    run: async ({ body, member, change }) => {
      requireKindAllowed(member, body.kind);
      const { id: organizationId } = member.organization;
      return await inTransaction(dependencies.sql, async (transaction) => {
        const id = await createPolicy(transaction, newPolicyOf(body, organizationId), change);
        return await readPolicy(transaction, organizationId, id);
      });
    },
  });
}

function readEndpoint(dependencies: Dependencies): Endpoint {
  return memberEndpoint(dependencies, {
    method: "GET",
    path: "/:id",
    summary: "Read a policy",
    description: "Also one that is archived.",
    params: z.strictObject({ id: idField("policy", policyExample.id) }),
    query: noQuery,
    body: noBody,
    capabilities: ["policy.read"],
    answer: policyAnswer,
    answerExample: policyExample,
    run: async ({ params, member }) =>
      await readPolicy(dependencies.sql, member.organization.id, params.id),
  });
}

function newPolicyOf(body: z.output<typeof createBody>, organizationId: string): NewPolicy {
  const { name } = body;
  if (body.kind === "soft_cap") {
    return { organizationId, name, kind: body.kind, budgetId: body.budgetId };
  }
  const given = { organizationId, name, mode: body.mode };
  switch (body.kind) {
    case "hard_cap":
      return { ...given, kind: body.kind, budgetId: body.budgetId };
    case "per_request_limit": {
      const { kind, scope, requestMaxUsd: requestMaxNanoUsd } = body;
      return { ...given, kind, scope, requestMaxNanoUsd };
    }
    case "review": {
      const { kind, scope, aboveUsd: aboveNanoUsd, provider = null, model = null } = body;
      return { ...given, kind, scope, review: { aboveNanoUsd, provider, model } };
    }
    case "allowlist": {
      const { providers, models, tools } = body;
      if (providers === undefined && models === undefined && tools === undefined) {
        throw new PublicError("invalid_request", "Name providers, models or tools to allow.", {
          param: "models",
        });
      }
      const allowed = { providers, models, tools };
      return { ...given, kind: body.kind, scope: body.scope, allowed };
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
      return { ...given, kind: body.kind, scope: body.scope, rate };
    }
  }
}
