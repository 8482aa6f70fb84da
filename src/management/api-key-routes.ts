/** API keys: listing, reading and making them; the token is shown once. */
import { z } from "zod";
import { inTransaction } from "../database/transaction.ts";
import { PublicError, requireFound } from "../errors.ts";
import type { Member } from "../identity/session.ts";
import { createApiKey } from "../keys/api-key.ts";
import { apiKeyFind, apiKeyList } from "../keys/queries.ts";
import { deriveKeyHmacKey } from "../keys/token.ts";
import { changeEndpoints } from "./api-key-changes.ts";
import {
  apiKeyAnswer,
  createBody,
  EMPLOYEE_EXAMPLE_ID,
  EXAMPLE_ID,
  example,
  itemOf,
  refusePast,
  tokenAnswer,
} from "./api-key-fields.ts";
import type { Dependencies } from "./dependencies.ts";
import { type Endpoint, noBody, noParams, noQuery, type Resource } from "./endpoint.ts";
import { idField } from "./fields.ts";
import { memberEndpoint } from "./member-endpoint.ts";
import { cursorOfId, idPlace, pageAnswer, pageOf, pageQuery } from "./page.ts";

export function apiKeyResource(dependencies: Dependencies): Resource {
  return {
    prefix: "/api-keys",
    tag: "API keys",
    endpoints: [
      listEndpoint(dependencies),
      createEndpoint(dependencies),
      readEndpoint(dependencies),
      ...changeEndpoints(dependencies),
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
        onlyId: null,
        beforeId: idPlace("apiKey", query),
        limit: query.limit + 1,
      });
      return pageOf(rows, query.limit, (row) => itemOf(row, now), cursorOfId);
    },
  });
}

function readEndpoint(dependencies: Dependencies): Endpoint {
  return memberEndpoint(dependencies, {
    method: "GET",
    path: "/:id",
    summary: "Read an API key",
    description: "With its version, what it has spent so far and when it was last used.",
    params: z.strictObject({ id: idField("apiKey", EXAMPLE_ID) }),
    query: noQuery,
    body: noBody,
    capabilities: ["api_key.read"],
    answer: apiKeyAnswer,
    answerExample: example,
    run: async ({ params, member, now }) => {
      const row = await apiKeyFind(dependencies.sql, {
        organizationId: member.organization.id,
        id: params.id,
        employeeIds: member.visibleEmployeeIds,
      });
      return itemOf(requireFound(row, "API key"), now);
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
    answer: tokenAnswer,
    answerExample: { ...example, token: `${example.prefix}_…` },
    status: 201,
    run: async ({ body, member, now, change }) => {
      const expiresAt = body.expiresAt ?? null;
      refuseForeignActor(member, body.actor);
      refusePast(expiresAt, now);
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
        return { ...itemOf(requireFound(row, "API key"), now), token };
      });
    },
  });
}

/** Who sees only own keys may make them only for themselves (F34). */
function refuseForeignActor(member: Member, actor: { kind: string; id: string }): void {
  const ownIds = member.visibleEmployeeIds;
  if (ownIds !== null && !(actor.kind === "employee" && ownIds.includes(actor.id))) {
    throw new PublicError(
      "capability_missing",
      "You may create keys only for whose keys you see.",
      {
        param: "actor",
      },
    );
  }
}
