/** Service tokens: listing, making (the token is shown once) and revoking them. */
import { z } from "zod";
import { inTransaction } from "../database/transaction.ts";
import { requireFound } from "../errors.ts";
import {
  createServiceToken,
  revokeServiceToken,
  serviceTokenStatus,
} from "../identity/automation-token.ts";
import {
  type ServiceTokenRow,
  serviceTokenFind,
  serviceTokenList,
} from "../identity/automation-token-queries.ts";
import { AUTOMATION_ROLES } from "../identity/capability.ts";
import { deriveOpaqueTokenKey } from "../identity/opaque-token.ts";
import type { Dependencies } from "./dependencies.ts";
import { type Endpoint, noBody, noParams, noQuery, type Resource } from "./endpoint.ts";
import { idField, instant, nameField } from "./fields.ts";
import { expiryField, lifetimeEnd } from "./lifetime.ts";
import { memberEndpoint } from "./member-endpoint.ts";
import { cursorOfId, idPlace, pageAnswer, pageOf, pageQuery } from "./page.ts";
import { changeEndpoint, versionAnswer } from "./versioned.ts";

const EXAMPLE_ID = "svt_01KAJ3M2YV8Q4T6W9ZB5C7D1E2";
const LIFETIME = { daysDefault: 90, daysMax: 366 };

const oneToken = z.strictObject({ id: idField("serviceToken", EXAMPLE_ID) });

const createBody = z.strictObject({
  name: nameField,
  role: z.enum(AUTOMATION_ROLES),
  expiresAt: expiryField(LIFETIME),
});

const tokenAnswer = z.strictObject({
  id: z.string(),
  name: z.string(),
  role: z.enum(AUTOMATION_ROLES),
  status: z.enum(["active", "expired", "revoked"]),
  createdByUserId: z.string(),
  createdAt: instant,
  expiresAt: instant,
  version: versionAnswer,
});

const createdAnswer = tokenAnswer.extend({
  token: z.string().meta({ description: "The whole token. It is shown only in this answer." }),
});

const example: z.output<typeof tokenAnswer> = {
  id: EXAMPLE_ID,
  name: "Nightly export",
  role: "auditor",
  status: "active",
  createdByUserId: "usr_01KAJ3M2YV8Q4T6W9ZB5C7D1E2",
  createdAt: "2026-11-21T09:30:00.000Z",
  expiresAt: "2027-02-19T09:30:00.000Z",
  version: 1,
};

export function serviceTokenResource(dependencies: Dependencies): Resource {
  return {
    prefix: "/service-tokens",
    tag: "Service tokens",
    endpoints: [
      listEndpoint(dependencies),
      createEndpoint(dependencies),
      readEndpoint(dependencies),
      revokeEndpoint(dependencies),
    ],
  };
}

function listEndpoint(dependencies: Dependencies): Endpoint {
  return memberEndpoint(dependencies, {
    method: "GET",
    path: "",
    summary: "List service tokens",
    description: "Newest first, also those that are over.",
    params: noParams,
    query: pageQuery,
    body: noBody,
    capabilities: ["service_token.read"],
    answer: pageAnswer(tokenAnswer),
    answerExample: { items: [example], nextCursor: null },
    run: async ({ query, member, now }) => {
      const rows = await serviceTokenList(dependencies.sql, {
        organizationId: member.organization.id,
        beforeId: idPlace("serviceToken", query),
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
    summary: "Read a service token",
    description: "Without its secret, which nobody can read again.",
    params: oneToken,
    query: noQuery,
    body: noBody,
    capabilities: ["service_token.read"],
    answer: tokenAnswer,
    answerExample: example,
    run: async ({ params, member, now }) => {
      const key = { organizationId: member.organization.id, id: params.id };
      return itemOf(
        requireFound(await serviceTokenFind(dependencies.sql, key), "service token"),
        now,
      );
    },
  });
}

function createEndpoint(dependencies: Dependencies): Endpoint {
  const tokenKey = deriveOpaqueTokenKey(dependencies.config.encryptionKey, "serviceToken");
  return memberEndpoint(dependencies, {
    method: "POST",
    path: "",
    summary: "Create a service token",
    description:
      "For automation: sent as `Authorization: Bearer spt_…`. It may do what its role may, but " +
      "neither change members nor make tokens. Good for 90 days unless said otherwise.",
    params: noParams,
    query: noQuery,
    body: createBody,
    bodyExample: { name: "Nightly export", role: "auditor" },
    capabilities: ["service_token.write"],
    answer: createdAnswer,
    answerExample: { ...example, token: "spt_01KAJ3M2YV8Q4T6W9ZB5C7D1E2_…" },
    status: 201,
    run: async ({ body, member, now, change }) => {
      const expiresAt = lifetimeEnd(body.expiresAt, LIFETIME, now);
      return await inTransaction(dependencies.sql, async (transaction) => {
        const { id, token } = await createServiceToken(
          transaction,
          { name: body.name, role: body.role, expiresAt },
          { member, change, tokenKey },
        );
        const key = { organizationId: member.organization.id, id };
        return {
          ...itemOf(requireFound(await serviceTokenFind(transaction, key), "service token"), now),
          token,
        };
      });
    },
  });
}

function revokeEndpoint(dependencies: Dependencies): Endpoint {
  return changeEndpoint(dependencies, {
    method: "POST",
    path: "/:id/revoke",
    summary: "Revoke a service token",
    description: "It opens nothing from the next request on. Revoking it again changes nothing.",
    params: oneToken,
    query: noQuery,
    body: noBody,
    capabilities: ["service_token.write"],
    answer: tokenAnswer,
    answerExample: { ...example, status: "revoked", version: 2 },
    run: async ({ params, member, now, change, expectedVersion }) => {
      const token = { id: params.id, expectedVersion };
      const row = await inTransaction(
        dependencies.sql,
        async (transaction) => await revokeServiceToken(transaction, token, { member, change }),
      );
      return itemOf(row, now);
    },
  });
}

function itemOf(row: ServiceTokenRow, now: Date): z.output<typeof tokenAnswer> {
  return {
    id: row.id,
    name: row.name,
    role: row.role,
    status: serviceTokenStatus(row, now),
    createdByUserId: row.created_by_user_id,
    createdAt: row.created_at.toISOString(),
    expiresAt: row.expires_at.toISOString(),
    version: row.version,
  };
}
