/**
 * Making an API key, and what one is good for. The secret exists in the answer of `createApiKey`
 * and nowhere else: the row keeps its HMAC, the audit row keeps neither.
 */
import { type Change, recordAuditEvent } from "../audit/audit-event.ts";
import type { Transaction } from "../database/client.ts";
import { PublicError } from "../errors.ts";
import { newId } from "../id.ts";
import { formatUsd, type NanoUsd } from "../money.ts";
import { agentExists, employeeExists, projectExists } from "../organizations/queries.ts";
import { type ApiKeyRow, apiKeyInsert, type Environment } from "./queries.ts";
import { formatToken, hmacOfSecret, newSecret, type TokenKind } from "./token.ts";

/** What of a key can change. */
export type ApiKeyFields = {
  name: string;
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
  isActive: boolean;
};

export type NewApiKey = Omit<ApiKeyFields, "isActive"> & {
  organizationId: string;
  actor: { kind: "employee" | "agent"; id: string };
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

/** What is worth knowing of a key in the audit log: amounts and times as text. */
export function auditFactsOf({ reservationMaxNanoUsd, expiresAt, ...fields }: ApiKeyFields) {
  return {
    ...fields,
    reservationMaxUsd: reservationMaxNanoUsd === null ? null : formatUsd(reservationMaxNanoUsd),
    expiresAt: expiresAt?.toISOString() ?? null,
  };
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
  await refuseUnknownProject(transaction, { organizationId, projectId, employeeIds });
}

/** Throws `invalid_request` when there is no such project, or none that they may work on. */
export async function refuseUnknownProject(
  transaction: Transaction,
  key: { organizationId: string; projectId: string | null; employeeIds: readonly string[] | null },
): Promise<void> {
  const { organizationId, projectId, employeeIds } = key;
  if (
    projectId !== null &&
    !(await projectExists(transaction, organizationId, projectId, employeeIds))
  ) {
    throw new PublicError("invalid_request", "There is no such project.", { param: "projectId" });
  }
}

function auditFacts(key: NewApiKey) {
  const { organizationId: _, actor, tokenKind: __, ...fields } = key;
  return {
    actorKind: actor.kind,
    actorId: actor.id,
    ...auditFactsOf({ ...fields, isActive: true }),
  };
}
