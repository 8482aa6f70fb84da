/** API keys: listing, making (the token is shown once) and revoking them. */

import { z } from "zod";
import { inTransaction } from "../database/transaction.ts";
import { PublicError } from "../errors.ts";
import type { Member } from "../identity/session.ts";
import { apiKeyStatus, createApiKey, revokeApiKey } from "../keys/api-key.ts";
import { type ApiKeyRow, apiKeyFind, apiKeyList } from "../keys/queries.ts";
import { deriveKeyHmacKey, tokenPrefix } from "../keys/token.ts";
import type { Dependencies } from "./dependencies.ts";
import { type Endpoint, noBody, noParams, noQuery, type Resource } from "./endpoint.ts";
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
import { memberEndpoint } from "./member-endpoint.ts";
import { cursorOfId, idPlace, pageAnswer, pageOf, pageQuery } from "./page.ts";
import { InvalidFieldsError } from "./problem.ts";

const EXAMPLE_ID = "key_01KAJ3M2YV8Q4T6W9ZB5C7D1E2";
const EMPLOYEE_EXAMPLE_ID = "emp_01KAJ3M2YV8Q4T6W9ZB5C7D1E2";

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

const createBody = z.strictObject({
  name: nameField,
  actor: actorField,
  projectId: idField("project", "prj_01KAJ3M2YV8Q4T6W9ZB5C7D1E2").nullish(),
  environment: z.enum(ENVIRONMENTS),
  allowedProviders: listField(providerField).default([]),
  allowedModels: listField(modelGrantField).min(1, "must name at least one model"),
  allowedTools: listField(modelField).default([]),
  reservationMaxUsd: positiveAmountField.nullish(),
  expiresAt: timeField.nullish(),
});

const apiKeyAnswer = z.strictObject({
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
  createdAt: instant,
  expiresAt: instant.nullable(),
  revokedAt: instant.nullable(),
});

const createdAnswer = apiKeyAnswer.extend({
  token: z.string().meta({ description: "The whole token. It is shown only in this answer." }),
});

const example: z.output<typeof apiKeyAnswer> = {
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
  createdAt: "2026-11-21T09:30:00.000Z",
  expiresAt: null,
  revokedAt: null,
};

export function apiKeyResource(dependencies: Dependencies): Resource {
  return {
    prefix: "/api-keys",
    tag: "API keys",
    endpoints: [
      listEndpoint(dependencies),
      createEndpoint(dependencies),
      revokeEndpoint(dependencies),
    ],
  };
}

function listEndpoint(dependencies: Dependencies): Endpoint {
  return memberEndpoint(dependencies, {
    method: "GET",
    path: "",
    summary: "List API keys",
    description: "Newest first. An employee sees only their own.",
    params: noParams,
    query: pageQuery,
    body: noBody,
    capabilities: ["api_key.read"],
    answer: pageAnswer(apiKeyAnswer),
    answerExample: { items: [example], nextCursor: null },
    run: async ({ query, member, now }) => {
      const rows = await apiKeyList(dependencies.sql, {
        organizationId: member.organization.id,
        employeeIds: member.visibleEmployeeIds,
        beforeId: idPlace("apiKey", query),
        limit: query.limit + 1,
      });
      return pageOf(rows, query.limit, (row) => itemOf(row, now), cursorOfId);
    },
  });
}

function createEndpoint(dependencies: Dependencies): Endpoint {
  const hmacKey = deriveKeyHmacKey(dependencies.config.encryptionKey);
  return memberEndpoint(dependencies, {
    method: "POST",
    path: "",
    summary: "Create an API key",
    description: "The token is shown once, in this answer, and is stored only as a hash.",
    params: noParams,
    query: noQuery,
    body: createBody,
    bodyExample: {
      name: "Checkout assistant",
      actor: { kind: "employee", id: EMPLOYEE_EXAMPLE_ID },
      environment: "production",
      allowedModels: ["gpt-4o-mini"],
      reservationMaxUsd: "2.5",
    },
    capabilities: ["api_key.create"],
    answer: createdAnswer,
    answerExample: { ...example, token: `${example.prefix}_…` },
    status: 201,
    run: async ({ body, member, now, change }) => {
      const expiresAt = body.expiresAt ?? null;
      refuseForeignActor(member, body.actor);
      if (expiresAt !== null && expiresAt <= now) {
        throw new InvalidFieldsError([{ field: "expiresAt", reason: "must be in the future" }]);
      }
      const { id: organizationId } = member.organization;
      const employeeIds = member.visibleEmployeeIds;
      const { reservationMaxUsd, ...fields } = body;
      return await inTransaction(dependencies.sql, async (transaction) => {
        const { apiKeyId, token } = await createApiKey(
          transaction,
          {
            ...fields,
            organizationId,
            projectId: body.projectId ?? null,
            reservationMaxNanoUsd: reservationMaxUsd ?? null,
            expiresAt,
            tokenKind: "live",
          },
          { change, hmacKey, employeeIds },
        );
        const row = await apiKeyFind(transaction, { organizationId, id: apiKeyId, employeeIds });
        return { ...itemOf(requireRow(row), now), token };
      });
    },
  });
}

function revokeEndpoint(dependencies: Dependencies): Endpoint {
  return memberEndpoint(dependencies, {
    method: "POST",
    path: "/:id/revoke",
    summary: "Revoke an API key",
    description: "It opens nothing from the next request on. Revoking it again changes nothing.",
    params: z.strictObject({ id: idField("apiKey", EXAMPLE_ID) }),
    query: noQuery,
    body: noBody,
    capabilities: ["api_key.revoke"],
    answer: apiKeyAnswer,
    answerExample: { ...example, status: "revoked", revokedAt: "2026-11-21T10:00:00.000Z" },
    run: async ({ params, member, now, change }) => {
      const key = {
        organizationId: member.organization.id,
        id: params.id,
        employeeIds: member.visibleEmployeeIds,
      };
      const row = await inTransaction(
        dependencies.sql,
        async (transaction) => await revokeApiKey(transaction, key, change),
      );
      return itemOf(row, now);
    },
  });
}

/** Who sees only own keys may make them only for themselves (F34). */
function refuseForeignActor(member: Member, actor: { kind: string; id: string }): void {
  const ownIds = member.visibleEmployeeIds;
  if (ownIds !== null && !(actor.kind === "employee" && ownIds.includes(actor.id))) {
    throw new PublicError("capability_missing", "Your role may create keys only for yourself.", {
      param: "actor",
    });
  }
}

function requireRow(row: ApiKeyRow | null): ApiKeyRow {
  if (row === null) {
    throw new PublicError("not_found", "There is no such API key.");
  }
  return row;
}

function itemOf(row: ApiKeyRow, now: Date): z.output<typeof apiKeyAnswer> {
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
    createdAt: row.created_at.toISOString(),
    expiresAt: timeOrNull(row.expires_at),
    revokedAt: timeOrNull(row.revoked_at),
  };
}
