/** What the API takes and answers of a key. */
import { z } from "zod";
import { apiKeyStatus } from "../keys/api-key.ts";
import type { ApiKeyRow } from "../keys/queries.ts";
import { tokenPrefix } from "../keys/token.ts";
import { formatUsd } from "../money.ts";
import {
  ENVIRONMENTS,
  idField,
  instant,
  listField,
  modelField,
  modelGrantField,
  nameField,
  positiveAmountField,
  providerField,
  timeField,
  timeOrNull,
  usd,
  usdOrNull,
} from "./fields.ts";
import { InvalidFieldsError } from "./problem.ts";
import { versionAnswer } from "./versioned.ts";

export const EXAMPLE_ID = "key_01KAJ3M2YV8Q4T6W9ZB5C7D1E2";
export const EMPLOYEE_EXAMPLE_ID = "emp_01KAJ3M2YV8Q4T6W9ZB5C7D1E2";

const actorField = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("employee"),
    id: idField("employee", EMPLOYEE_EXAMPLE_ID),
  }),
  z.strictObject({
    kind: z.literal("agent"),
    id: idField("agent", "agt_01KAJ3M2YV8Q4T6W9ZB5C7D1E2"),
  }),
]);

const projectIdField = idField("project", "prj_01KAJ3M2YV8Q4T6W9ZB5C7D1E2");
const allowedModelsField = listField(modelGrantField).min(1, "must name at least one model");

export const createBody = z.strictObject({
  name: nameField,
  actor: actorField,
  projectId: projectIdField.nullish(),
  environment: z.enum(ENVIRONMENTS),
  allowedProviders: listField(providerField).default([]),
  allowedModels: allowedModelsField,
  allowedTools: listField(modelField).default([]),
  reservationMaxUsd: positiveAmountField.nullish(),
  expiresAt: timeField.nullish(),
});

export const changeBody = z.strictObject({
  name: nameField.optional(),
  projectId: projectIdField.nullable().optional(),
  environment: z.enum(ENVIRONMENTS).optional(),
  allowedProviders: listField(providerField).optional(),
  allowedModels: allowedModelsField.optional(),
  allowedTools: listField(modelField).optional(),
  reservationMaxUsd: positiveAmountField.nullable().optional(),
  expiresAt: timeField.nullable().optional(),
  isActive: z.boolean().optional(),
});

export const apiKeyAnswer = z.strictObject({
  id: z.string(),
  name: z.string(),
  prefix: z.string().meta({ description: "The token without its secret." }),
  actor: z.strictObject({ kind: z.enum(["employee", "agent"]), id: z.string(), name: z.string() }),
  projectId: z.string().nullable(),
  environment: z.enum(ENVIRONMENTS),
  allowedProviders: z.array(z.string()).meta({ description: "Empty: all that the models name." }),
  allowedModels: z.array(z.string()),
  allowedTools: z.array(z.string()),
  reservationMaxUsd: usd.nullable(),
  status: z.enum(["active", "inactive", "expired", "revoked"]),
  isActive: z.boolean(),
  version: versionAnswer,
  createdAt: instant,
  expiresAt: instant.nullable(),
  rotatedAt: instant.nullable(),
  previousSecretEndsAt: instant.nullable().meta({
    description: "Until when the secret before the last rotation opens the key as well.",
  }),
  revokedAt: instant.nullable(),
  lastUsedAt: instant.nullable().meta({
    description: "Up to a minute late. Also uses that were refused, but not for the secret.",
  }),
  spentUsd: usd.meta({ description: "All that was ever booked on the key." }),
});

export const tokenAnswer = apiKeyAnswer.extend({
  token: z.string().meta({ description: "The whole token. It is shown only in this answer." }),
});

export const example: z.output<typeof apiKeyAnswer> = {
  id: EXAMPLE_ID,
  name: "Checkout assistant",
  prefix: "spk_live_01KAJ3M2YV8Q4T6W9ZB5C7D1E2",
  actor: { kind: "employee", id: EMPLOYEE_EXAMPLE_ID, name: "Ada" },
  projectId: null,
  environment: "production",
  allowedProviders: [],
  allowedModels: ["gpt-4o-mini"],
  allowedTools: [],
  reservationMaxUsd: "2.5",
  status: "active",
  isActive: true,
  version: 1,
  createdAt: "2026-11-21T09:30:00.000Z",
  expiresAt: null,
  rotatedAt: null,
  previousSecretEndsAt: null,
  revokedAt: null,
  lastUsedAt: "2026-11-21T09:41:00.000Z",
  spentUsd: "0.0123",
};

export function itemOf(row: ApiKeyRow, now: Date): z.output<typeof apiKeyAnswer> {
  return {
    id: row.id,
    name: row.name,
    prefix: tokenPrefix(row.id, row.token_kind),
    actor:
      row.agent_id === null
        ? { kind: "employee", id: row.employee_id ?? "", name: row.actor_name }
        : { kind: "agent", id: row.agent_id, name: row.actor_name },
    projectId: row.project_id,
    environment: row.environment,
    allowedProviders: row.allowed_providers,
    allowedModels: row.allowed_models,
    allowedTools: row.allowed_tools,
    reservationMaxUsd: usdOrNull(row.reservation_max_nano_usd),
    status: apiKeyStatus(row, now),
    isActive: row.is_active,
    version: row.version,
    createdAt: row.created_at.toISOString(),
    expiresAt: timeOrNull(row.expires_at),
    rotatedAt: timeOrNull(row.rotated_at),
    previousSecretEndsAt: timeOrNull(row.previous_secret_ends_at),
    revokedAt: timeOrNull(row.revoked_at),
    lastUsedAt: timeOrNull(row.last_used_at),
    spentUsd: formatUsd(row.spent_nano_usd),
  };
}

/** Throws for an expiry that would end the key before it begins. */
export function refusePast(expiresAt: Date | null, now: Date): void {
  if (expiresAt !== null && expiresAt <= now) {
    throw new InvalidFieldsError([{ field: "expiresAt", reason: "must be in the future" }]);
  }
}
