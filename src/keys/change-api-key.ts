/**
 * Changing and revoking API keys. Both hold from the next request on, on every node, because the
 * key's epoch grows. Not here: a new secret for a key (rotate-api-key.ts).
 */
import { type Change, recordAuditEvent } from "../audit/audit-event.ts";
import type { Transaction } from "../database/client.ts";
import { requireVersion } from "../database/require-version.ts";
import { PublicError, requireFound } from "../errors.ts";
import { type ApiKeyFields, auditFactsOf, refuseUnknownProject } from "./api-key.ts";
import { type ApiKeyRow, apiKeyFind, apiKeyLock, apiKeyRevoke, apiKeyUpdate } from "./queries.ts";

/** A key that somebody changes: who sees whose keys, and which version they have seen. */
export type ChangedApiKey = {
  organizationId: string;
  id: string;
  employeeIds: readonly string[] | null;
  expectedVersion: number;
};

/**
 * Changes a key from the next request on; a field that is absent stays, and what is the same
 * already changes nothing. Throws `not_found`, `version_stale`, `archived` for a revoked key, and
 * `invalid_request` naming the project when there is none.
 */
export async function changeApiKey(
  transaction: Transaction,
  key: ChangedApiKey,
  changes: Partial<ApiKeyFields>,
  change: Change,
): Promise<ApiKeyRow> {
  const before = await lockForChange(transaction, key);
  requireNotRevoked(before);
  const changed = { ...fieldsOf(before), ...changes };
  if (changed.projectId !== before.project_id) {
    await refuseUnknownProject(transaction, { ...key, projectId: changed.projectId });
  }
  const [factsBefore, factsAfter] = differences(fieldsOf(before), changed);
  if (Object.keys(factsAfter).length === 0) {
    return before;
  }
  await apiKeyUpdate(transaction, { ...changed, organizationId: key.organizationId, id: key.id });
  await recordAuditEvent(
    transaction,
    {
      organizationId: key.organizationId,
      action: "api_key.change",
      subjectId: key.id,
      before: factsBefore,
      after: factsAfter,
    },
    change,
  );
  return await requireApiKey(transaction, key);
}

/**
 * Revokes a key for good, from the next request on; with `cutsRunning` its running streams end as
 * well. Revoking it again changes nothing. Throws `not_found` and `version_stale`.
 */
export async function revokeApiKey(
  transaction: Transaction,
  key: ChangedApiKey & { cutsRunning: boolean },
  change: Change,
): Promise<ApiKeyRow> {
  const before = await lockForChange(transaction, key);
  if (before.revoked_at !== null && !key.cutsRunning) {
    return before;
  }
  const revokedAt = before.revoked_at ?? change.at;
  await apiKeyRevoke(transaction, { ...key, revokedAt });
  await recordAuditEvent(
    transaction,
    {
      organizationId: key.organizationId,
      action: "api_key.revoke",
      subjectId: key.id,
      before: { revokedAt: before.revoked_at?.toISOString() ?? null },
      after: { revokedAt: revokedAt.toISOString(), cutsRunning: key.cutsRunning },
    },
    change,
  );
  return await requireApiKey(transaction, key);
}

/** The key, locked and still at the version that was seen. Throws `not_found`, `version_stale`. */
export async function lockForChange(
  transaction: Transaction,
  key: ChangedApiKey,
): Promise<ApiKeyRow> {
  // Locked in one statement and read in the next, which sees what others have committed by then.
  await apiKeyLock(transaction, key);
  const row = await requireApiKey(transaction, key);
  requireVersion(row, key.expectedVersion);
  return row;
}

/** Throws `archived` for a key that was revoked: nothing brings it back. */
export function requireNotRevoked(key: ApiKeyRow): void {
  if (key.revoked_at !== null) {
    throw new PublicError("archived", "The key was revoked and cannot be changed any more.");
  }
}

export async function requireApiKey(
  transaction: Transaction,
  key: Omit<ChangedApiKey, "expectedVersion">,
): Promise<ApiKeyRow> {
  const row = await apiKeyFind(transaction, key);
  return requireFound(row, "API key");
}

function fieldsOf(row: ApiKeyRow): ApiKeyFields {
  return {
    name: row.name,
    projectId: row.project_id,
    environment: row.environment,
    allowedProviders: row.allowed_providers,
    allowedModels: row.allowed_models,
    allowedTools: row.allowed_tools,
    reservationMaxNanoUsd: row.reservation_max_nano_usd,
    expiresAt: row.expires_at,
    isActive: row.is_active,
  };
}

type Facts = ReturnType<typeof auditFactsOf>;

/** What differs, as it was and as it is. */
function differences(
  before: ApiKeyFields,
  after: ApiKeyFields,
): readonly [Partial<Facts>, Partial<Facts>] {
  const [factsBefore, factsAfter] = [auditFactsOf(before), auditFactsOf(after)];
  const names = (Object.keys(factsAfter) as (keyof Facts)[]).filter(
    (name) => JSON.stringify(factsBefore[name]) !== JSON.stringify(factsAfter[name]),
  );
  const only = (facts: Facts) => Object.fromEntries(names.map((name) => [name, facts[name]]));
  return [only(factsBefore), only(factsAfter)];
}
