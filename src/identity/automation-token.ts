/**
 * Service tokens: what automation presents to the management API, `spt_<id>_<secret>`. Bound to a
 * role, which whoever makes the token must be allowed to give. The secret exists in the answer of
 * `createServiceToken` and nowhere else.
 */
import { type Change, recordAuditEvent } from "../audit/audit-event.ts";
import type { Queryable, Transaction } from "../database/client.ts";
import { requireVersion } from "../database/require-version.ts";
import { PublicError } from "../errors.ts";
import { newId } from "../id.ts";
import {
  type ServiceTokenRow,
  serviceTokenFind,
  serviceTokenFindActive,
  serviceTokenInsert,
  serviceTokenLock,
  serviceTokenRevoke,
} from "./automation-token-queries.ts";
import { type AutomationRole, automationCapabilitiesOf } from "./capability.ts";
import type { Member } from "./member.ts";
import { newOpaqueToken, opensWith, parseOpaqueToken } from "./opaque-token.ts";
import { mayAssignRole } from "./role-rules.ts";

export type ServiceTokenStatus = "active" | "expired" | "revoked";

type NewServiceToken = { name: string; role: AutomationRole; expiresAt: Date };

/** Makes a token. Answers its id and the text to show once. Throws `capability_missing`. */
export async function createServiceToken(
  transaction: Transaction,
  token: NewServiceToken,
  by: { member: Member; change: Change; tokenKey: Uint8Array },
): Promise<{ id: string; token: string }> {
  requireAssignable(by.member, token.role);
  const { id: organizationId } = by.member.organization;
  const id = newId("serviceToken", by.change.at);
  const made = newOpaqueToken("serviceToken", id, by.tokenKey);
  await serviceTokenInsert(transaction, {
    ...token,
    organizationId,
    id,
    secretHmac: made.secretHmac,
    createdByUserId: by.member.user.id,
    createdAt: by.change.at,
  });
  await recordAuditEvent(
    transaction,
    {
      organizationId,
      action: "service_token.create",
      subjectId: id,
      after: { name: token.name, role: token.role, expiresAt: token.expiresAt.toISOString() },
    },
    by.change,
  );
  return { id, token: made.token };
}

/**
 * Revokes a token, from the next request on. Revoking it again changes nothing. Throws `not_found`,
 * `version_stale`, or `capability_missing` for one whose role the caller may not give.
 */
export async function revokeServiceToken(
  transaction: Transaction,
  token: { id: string; expectedVersion: number },
  by: { member: Member; change: Change },
): Promise<ServiceTokenRow> {
  const key = { organizationId: by.member.organization.id, id: token.id };
  await serviceTokenLock(transaction, key);
  const before = await serviceTokenFind(transaction, key);
  if (before === null) {
    throw new PublicError("not_found", "There is no such service token.");
  }
  requireVersion(before, token.expectedVersion);
  requireAssignable(by.member, before.role);
  if (before.revoked_at === null) {
    await serviceTokenRevoke(transaction, { ...key, revokedAt: by.change.at });
    await recordAuditEvent(
      transaction,
      {
        organizationId: key.organizationId,
        action: "service_token.revoke",
        subjectId: key.id,
        before: { revokedAt: null },
        after: { revokedAt: by.change.at.toISOString() },
      },
      by.change,
    );
  }
  return (await serviceTokenFind(transaction, key)) ?? before;
}

/** Who presents this token, or null when it opens nothing (any more). */
export async function findAutomation(
  sql: Queryable,
  token: string,
  tokenKey: Uint8Array,
  now: Date,
): Promise<Member | null> {
  const presented = parseOpaqueToken("serviceToken", token);
  const row = presented === null ? null : await serviceTokenFindActive(sql, presented.id, now);
  if (
    presented === null ||
    row === null ||
    !opensWith(presented.secret, row.secret_hmac, tokenKey)
  ) {
    return null;
  }
  return {
    user: { id: row.user_id, email: row.email, name: row.user_name },
    organization: { id: row.organization_id, name: row.organization_name },
    role: row.role,
    capabilities: automationCapabilitiesOf(row.role),
    visibleEmployeeIds: null,
    serviceTokenId: row.id,
  };
}

/** Revoked wins over expired. */
export function serviceTokenStatus(
  row: Pick<ServiceTokenRow, "revoked_at" | "expires_at">,
  now: Date,
): ServiceTokenStatus {
  if (row.revoked_at !== null) {
    return "revoked";
  }
  return row.expires_at <= now ? "expired" : "active";
}

function requireAssignable(member: Member, role: AutomationRole): void {
  if (!mayAssignRole(member.role, null, role)) {
    throw new PublicError(
      "capability_missing",
      `Your role (${member.role ?? "none"}) may not give or take the role ${role}.`,
      { param: "role" },
    );
  }
}
