/** Changing, rotating and revoking API keys; each names the version that its author has seen. */
import { z } from "zod";
import type { Transaction } from "../database/client.ts";
import { inTransaction } from "../database/transaction.ts";
import type { Member } from "../identity/session.ts";
import { type ChangedApiKey, changeApiKey, revokeApiKey } from "../keys/change-api-key.ts";
import { OVERLAP_SECONDS_MAX, rotateApiKey } from "../keys/rotate-api-key.ts";
import { deriveKeyHmacKey } from "../keys/token.ts";
import {
  apiKeyAnswer,
  changeBody,
  EXAMPLE_ID,
  example,
  itemOf,
  refusePast,
  tokenAnswer,
} from "./api-key-fields.ts";
import type { Dependencies } from "./dependencies.ts";
import { type Endpoint, noBody, noQuery } from "./endpoint.ts";
import { idField } from "./fields.ts";
import { changeEndpoint } from "./versioned.ts";

const idParams = z.strictObject({ id: idField("apiKey", EXAMPLE_ID) });

const rotateBody = z.strictObject({
  overlapSeconds: z
    .int("must be a whole number of seconds")
    .min(0, "must not be below 0")
    .max(OVERLAP_SECONDS_MAX, `must be at most ${OVERLAP_SECONDS_MAX}: seven days`)
    .meta({ description: "How long the present secret opens the key beside the new one." }),
});

const revokeQuery = z.strictObject({
  cutRunning: z
    .enum(["true", "false"], "must be true or false")
    .default("false")
    .meta({ description: "Whether running streams of the key end as well, on every node." }),
});

export function changeEndpoints(dependencies: Dependencies): readonly Endpoint[] {
  return [editEndpoint(dependencies), rotateEndpoint(dependencies), revokeEndpoint(dependencies)];
}

function editEndpoint(dependencies: Dependencies): Endpoint {
  return changeEndpoint(dependencies, {
    method: "PATCH",
    path: "/:id",
    summary: "Change an API key",
    description:
      "A field that is left out stays as it is. In force from the next request on. A revoked key " +
      "cannot be changed.",
    params: idParams,
    query: noQuery,
    body: changeBody,
    bodyExample: { allowedModels: ["gpt-4o-mini", "gpt-4o"], reservationMaxUsd: "5" },
    capabilities: ["api_key.change"],
    answer: apiKeyAnswer,
    answerExample: { ...example, version: 2, reservationMaxUsd: "5" },
    run: async ({ params, body, expectedVersion, member, now, change }) => {
      refusePast(body.expiresAt ?? null, now);
      const { reservationMaxUsd, ...fields } = body;
      const changes = withoutAbsent({ ...fields, reservationMaxNanoUsd: reservationMaxUsd });
      const key = keyOf(member, params.id, expectedVersion);
      const row = await inTransaction(dependencies.sql, (transaction) =>
        changeApiKey(transaction, key, changes, change),
      );
      return itemOf(row, now);
    },
  });
}

function rotateEndpoint(dependencies: Dependencies): Endpoint {
  const hmacKey = deriveKeyHmacKey(dependencies.config.encryptionKey);
  return changeEndpoint(dependencies, {
    method: "POST",
    path: "/:id/rotate",
    summary: "Give an API key a new secret",
    description:
      "The new token is shown once, in this answer; the key keeps its id, budgets and history. " +
      "The old token works until the overlap ends. While an overlap runs, only a rotation " +
      "without one is possible, which ends every earlier token at once.",
    params: idParams,
    query: noQuery,
    body: rotateBody,
    bodyExample: { overlapSeconds: 86_400 },
    capabilities: ["api_key.change"],
    answer: tokenAnswer,
    answerExample: {
      ...example,
      version: 2,
      rotatedAt: "2026-11-21T10:00:00.000Z",
      previousSecretEndsAt: "2026-11-22T10:00:00.000Z",
      token: `${example.prefix}_…`,
    },
    run: async ({ params, body, expectedVersion, member, now, change }) => {
      const key = keyOf(member, params.id, expectedVersion);
      const rotate = async (transaction: Transaction) =>
        await rotateApiKey(transaction, key, body.overlapSeconds, { change, hmacKey });
      const { row, token } = await inTransaction(dependencies.sql, rotate);
      return { ...itemOf(row, now), token };
    },
  });
}

function revokeEndpoint(dependencies: Dependencies): Endpoint {
  return changeEndpoint(dependencies, {
    method: "POST",
    path: "/:id/revoke",
    summary: "Revoke an API key",
    description:
      "It opens nothing from the next request on, and nothing brings it back. Running answers " +
      "end by themselves, unless `cutRunning` is true. Revoking it again changes nothing.",
    params: idParams,
    query: revokeQuery,
    body: noBody,
    capabilities: ["api_key.revoke"],
    answer: apiKeyAnswer,
    answerExample: {
      ...example,
      version: 2,
      status: "revoked",
      revokedAt: "2026-11-21T10:00:00.000Z",
    },
    run: async ({ params, query, expectedVersion, member, now, change }) => {
      const key = keyOf(member, params.id, expectedVersion);
      const cutsRunning = query.cutRunning === "true";
      const row = await inTransaction(dependencies.sql, (transaction) =>
        revokeApiKey(transaction, { ...key, cutsRunning }, change),
      );
      return itemOf(row, now);
    },
  });
}

function keyOf(member: Member, id: string, expectedVersion: number): ChangedApiKey {
  const { organization, visibleEmployeeIds: employeeIds } = member;
  return { organizationId: organization.id, id, employeeIds, expectedVersion };
}

type Present<Fields> = { [Name in keyof Fields]?: Exclude<Fields[Name], undefined> };

function withoutAbsent<Fields extends object>(fields: Fields): Present<Fields> {
  const present = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(present) as Present<Fields>;
}
