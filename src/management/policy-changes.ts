/** Policies: changing and archiving them. */
import { z } from "zod";
import { archivePolicy, changePolicy, type SettingsPatch } from "../budgets/change-policy.ts";
import { inTransaction } from "../database/transaction.ts";
import { formatUsd } from "../money.ts";
import type { Dependencies } from "./dependencies.ts";
import { type Endpoint, noBody, noQuery } from "./endpoint.ts";
import {
  amountField,
  idField,
  listField,
  modelField,
  modelGrantField,
  nameField,
  positiveAmountField,
  providerField,
} from "./fields.ts";
import {
  POLICY_MODES,
  policyAnswer,
  policyExample,
  readPolicy,
  requireKindAllowed,
} from "./policy-answer.ts";
import { changeEndpoint } from "./versioned.ts";

/** Far above any real limit, and exact in JSON. */
const RATE_LIMIT_MAX = 1_000_000_000_000;

export const rateLimitField = z
  .int("must be a whole number")
  .min(0, "must not be below 0")
  .max(RATE_LIMIT_MAX);

/** An empty list would allow nothing at all, which nobody writes on purpose. */
export function allowedField<Item extends z.ZodType>(item: Item) {
  return listField(item).min(1, "must name at least one, or be left out").optional();
}

const changeBody = z
  .strictObject({
    name: nameField.optional(),
    mode: z.enum(POLICY_MODES).optional(),
    requestMaxUsd: positiveAmountField.optional(),
    providers: allowedField(providerField).nullable(),
    models: allowedField(modelGrantField).nullable(),
    tools: allowedField(modelField).nullable(),
    limit: rateLimitField.optional(),
    aboveUsd: amountField.optional(),
    provider: providerField.nullish(),
    model: modelField.nullish(),
  })
  .refine((body) => Object.values(body).some((value) => value !== undefined), {
    message: "must name at least one field to change",
  });

const params = z.strictObject({ id: idField("policy", policyExample.id) });

export function changePolicyEndpoint(dependencies: Dependencies): Endpoint {
  return changeEndpoint(dependencies, {
    method: "PATCH",
    path: "/:id",
    summary: "Change a policy",
    description:
      "Name, mode and what its kind has: requestMaxUsd; providers, models, tools; limit; " +
      "aboveUsd, provider, model. Null takes a list or selector away. In force from the next " +
      "request on, a rate limit's new limit also in the windows that are open.",
    params,
    query: noQuery,
    body: changeBody,
    bodyExample: { mode: "enforced" },
    capabilities: ["policy.write", "allowlist.write"],
    answer: policyAnswer,
    answerExample: { ...policyExample, version: 2 },
    run: async ({ params: { id }, body, member, change, expectedVersion }) => {
      const { id: organizationId } = member.organization;
      const policy = { organizationId, id, expectedVersion };
      const { name, mode } = body;
      return await inTransaction(dependencies.sql, async (transaction) => {
        await changePolicy(
          transaction,
          { ...policy, name, mode, settings: settingsOf(body) },
          change,
          (kind) => requireKindAllowed(member, kind),
        );
        return await readPolicy(transaction, organizationId, id);
      });
    },
  });
}

export function archivePolicyEndpoint(dependencies: Dependencies): Endpoint {
  return changeEndpoint(dependencies, {
    method: "POST",
    path: "/:id/archive",
    summary: "Archive a policy",
    description: "It is out of force from the next request on, and cannot be brought back.",
    params,
    query: noQuery,
    body: noBody,
    capabilities: ["policy.write", "allowlist.write"],
    answer: policyAnswer,
    answerExample: { ...policyExample, version: 2, archivedAt: "2026-11-21T10:00:00.000Z" },
    run: async ({ params: { id }, member, change, expectedVersion }) => {
      const { id: organizationId } = member.organization;
      const policy = { organizationId, id, expectedVersion };
      return await inTransaction(dependencies.sql, async (transaction) => {
        await archivePolicy(transaction, policy, change, (kind) =>
          requireKindAllowed(member, kind),
        );
        return await readPolicy(transaction, organizationId, id);
      });
    },
  });
}

/** As they are stored: amounts and numbers as text. What was not given is not in it. */
function settingsOf(body: z.output<typeof changeBody>): SettingsPatch {
  const { requestMaxUsd, aboveUsd, limit, providers, models, tools, provider, model } = body;
  const settings = {
    requestMaxUsd: requestMaxUsd === undefined ? undefined : formatUsd(requestMaxUsd),
    aboveUsd: aboveUsd === undefined ? undefined : formatUsd(aboveUsd),
    limit: limit === undefined ? undefined : String(limit),
    providers,
    models,
    tools,
    provider,
    model,
  };
  const patch: Record<string, string | readonly string[] | null> = {};
  for (const [name, value] of Object.entries(settings)) {
    if (value !== undefined) {
      patch[name] = value;
    }
  }
  return patch;
}
