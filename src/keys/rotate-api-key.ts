/**
 * A new secret for a key. The key stays the same key, so its budgets, its ledger and its limits
 * stay where they are; its epoch grows, so every node learns of the new secret before the next
 * reservation. The old secret opens the key as well until the overlap ends, on each node's clock.
 */
import { type Change, recordAuditEvent } from "../audit/audit-event.ts";
import type { Transaction } from "../database/client.ts";
import { PublicError } from "../errors.ts";
import {
  type ChangedApiKey,
  lockForChange,
  requireApiKey,
  requireNotRevoked,
} from "./change-api-key.ts";
import { type ApiKeyRow, apiKeyRotate } from "./queries.ts";
import { formatToken, hmacOfSecret, newSecret } from "./token.ts";

export const OVERLAP_SECONDS_MAX = 7 * 24 * 60 * 60;

type RotatedApiKey = {
  row: ApiKeyRow;
  /** The whole token with its new secret: shown once, stored nowhere. */
  token: string;
};

/**
 * Rotates a key. With an overlap of no seconds every earlier secret ends at once, also one whose
 * overlap is running. Throws `not_found`, `version_stale`, `archived` for a revoked key, and
 * `rotation_overlaps` when another overlap is asked for before the last one has ended.
 */
export async function rotateApiKey(
  transaction: Transaction,
  key: ChangedApiKey,
  overlapSeconds: number,
  by: { change: Change; hmacKey: Uint8Array },
): Promise<RotatedApiKey> {
  const before = await lockForChange(transaction, key);
  requireNotRevoked(before);
  const { at } = by.change;
  if (overlapSeconds > 0) {
    refuseOverlap(before, at);
  }
  const secret = newSecret();
  const previousEndsAt = new Date(at.getTime() + overlapSeconds * 1000);
  await apiKeyRotate(transaction, {
    ...key,
    secretHmac: hmacOfSecret(secret, by.hmacKey),
    previousEndsAt,
    rotatedAt: at,
  });
  await recordAuditEvent(
    transaction,
    {
      organizationId: key.organizationId,
      action: "api_key.rotate",
      subjectId: key.id,
      before: { rotatedAt: before.rotated_at?.toISOString() ?? null },
      after: { rotatedAt: at.toISOString(), previousSecretEndsAt: previousEndsAt.toISOString() },
    },
    by.change,
  );
  const row = await requireApiKey(transaction, key);
  return { row, token: formatToken(key.id, secret, row.token_kind) };
}

/** Three secrets at once would leave nobody sure which applications still need a new one. */
function refuseOverlap({ previous_secret_ends_at: endsAt }: ApiKeyRow, at: Date): void {
  if (endsAt !== null && endsAt > at) {
    throw new PublicError(
      "rotation_overlaps",
      `The secret before this one is good until ${endsAt.toISOString()}. Wait until then, or ` +
        "rotate without an overlap, which ends both.",
      { param: "overlapSeconds", details: { previous_secret_ends_at: endsAt.toISOString() } },
    );
  }
}
