/**
 * Making and revoking API keys. The secret exists in the answer of `createApiKey` and nowhere else:
 * the row keeps its HMAC, the audit row keeps neither.
 */
import { type Change, recordAuditEvent } from "../audit/audit-event.ts";
import type { Transaction } from "../database/client.ts";
import { PublicError } from "../errors.ts";
import { newId } from "../id.ts";
import { formatUsd, type NanoUsd } from "../money.ts";
import { agentExists, employeeExists, projectExists } from "../organizations/queries.ts";
import {
  type ApiKeyRow,
  apiKeyFind,
  apiKeyInsert,
  apiKeyRevoke,
  type Environment,
} from "./queries.ts";
import { formatToken, hmacOfSecret, newSecret, type TokenKind } from "./token.ts";

export type NewApiKey = {
  organizationId: string;
  name: string;
  actor: { kind: "employee" | "agent"; id: string };
  /** Binds the key to one project; null leaves it open. */
  projectId: string | null;
  environment: Environment;
  /** Empty: every provider that the models name. */
  allowedProviders: readonly string[];
  /** `gpt-4o` (OpenAI), `*` (all of OpenAI), `anthropic/claude-sonnet-4-5`, `anthropic/*`. */
  allowedModels: readonly string[];
  allowedTools: readonly string[];
  reservationMaxNanoUsd: NanoUsd | null;
  expiresAt: Date | null;
  tokenKind: TokenKind;
};

type CreatedApiKey = {
  apiKeyId: string;
  /** The whole token with its secret: shown once, stored nowhere. */
  token: string;
};

export type ApiKeyStatus = "active" | "inactive" | "expired" | "revoked";

/**
 * Creates a key. `employeeIds` limits the projects it may be bound to (null: every project).
 * Throws `invalid_request` naming the field when actor or project do not exist.
 */
export async function createApiKey(
  transaction: Transaction,
  key: NewApiKey,
  by: { change: Change; hmacKey: Uint8Array; employeeIds: readonly string[] | null },
): Promise<CreatedApiKey> {
  await refuseUnknownReferences(transaction, key, by.employeeIds);
  const { actor, ...fields } = key;
  const id = newId("apiKey", by.change.at);
  const secret = newSecret();
  await apiKeyInsert(transaction, {
    ...fields,
    id,
    employeeId: actor.kind === "employee" ? actor.id : null,
    agentId: actor.kind === "agent" ? actor.id : null,
    secretHmac: hmacOfSecret(secret, by.hmacKey),
    createdAt: by.change.at,
    createdByUserId: by.change.userId,
  });
  await recordAuditEvent(
    transaction,
    {
      organizationId: key.organizationId,
      action: "api_key.create",
      subjectId: id,
      after: auditFacts(key),
    },
    by.change,
  );
  return { apiKeyId: id, token: formatToken(id, secret, key.tokenKind) };
}

/**
 * Revokes a key that the caller may see, from the next request on. Revoking it again changes
 * nothing. Throws `not_found`.
 */
export async function revokeApiKey(
  transaction: Transaction,
  key: { organizationId: string; id: string; employeeIds: readonly string[] | null },
  change: Change,
): Promise<ApiKeyRow> {
  const before = await apiKeyFind(transaction, key);
  if (before === null) {
    throw new PublicError("not_found", "There is no such API key.");
  }
  if (await apiKeyRevoke(transaction, { ...key, revokedAt: change.at })) {
    await recordAuditEvent(
      transaction,
      {
        organizationId: key.organizationId,
        action: "api_key.revoke",
        subjectId: key.id,
        before: { revokedAt: null },
        after: { revokedAt: change.at.toISOString() },
      },
      change,
    );
  }
  // Read again, because another call may have revoked it between the first look and the update.
  return (await apiKeyFind(transaction, key)) ?? before;
}

/** What a key is good for at an instant. Revoked wins over expired, expired over inactive. */
export function apiKeyStatus(
  key: Pick<ApiKeyRow, "revoked_at" | "expires_at" | "is_active">,
  now: Date,
): ApiKeyStatus {
  if (key.revoked_at !== null) {
    return "revoked";
  }
  if (key.expires_at !== null && key.expires_at <= now) {
    return "expired";
  }
  return key.is_active ? "active" : "inactive";
}

async function refuseUnknownReferences(
  transaction: Transaction,
  key: NewApiKey,
  employeeIds: readonly string[] | null,
): Promise<void> {
  const { organizationId, actor, projectId } = key;
  const actorExists = actor.kind === "employee" ? employeeExists : agentExists;
  if (!(await actorExists(transaction, organizationId, actor.id))) {
    throw new PublicError("invalid_request", `There is no such ${actor.kind}.`, {
      param: "actor.id",
    });
  }
  if (
    projectId !== null &&
    !(await projectExists(transaction, organizationId, projectId, employeeIds))
  ) {
    throw new PublicError("invalid_request", "There is no such project.", { param: "projectId" });
  }
}

function auditFacts(key: NewApiKey) {
  return {
    name: key.name,
    actorKind: key.actor.kind,
    actorId: key.actor.id,
    projectId: key.projectId,
    environment: key.environment,
    allowedProviders: key.allowedProviders,
    allowedModels: key.allowedModels,
    allowedTools: key.allowedTools,
    reservationMaxUsd:
      key.reservationMaxNanoUsd === null ? null : formatUsd(key.reservationMaxNanoUsd),
    expiresAt: key.expiresAt?.toISOString() ?? null,
  };
}
