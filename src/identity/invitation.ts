/**
 * Inviting somebody into an organization. The token is shown once, works once and expires; the row
 * keeps its HMAC. Accepting is in accept-invitation.ts.
 */
import { type Change, recordAuditEvent } from "../audit/audit-event.ts";
import type { Transaction } from "../database/client.ts";
import { requireVersion } from "../database/require-version.ts";
import { violatedConstraint } from "../database/sqlstate.ts";
import { PublicError } from "../errors.ts";
import { newId } from "../id.ts";
import { employeeExists } from "../organizations/queries.ts";
import type { Role } from "./capability.ts";
import {
  type InvitationRow,
  invitationFind,
  invitationInsert,
  invitationLock,
  invitationLockOpen,
  invitationRevoke,
} from "./invitation-queries.ts";
import type { Member } from "./member.ts";
import { callerFindByEmail } from "./member-queries.ts";
import { newOpaqueToken } from "./opaque-token.ts";
import { mayAssignRole } from "./role-rules.ts";

export type NewInvitation = {
  /** In lower case. */
  email: string;
  role: Role;
  employeeId: string | null;
  expiresAt: Date;
};

export type InvitationStatus = "open" | "accepted" | "revoked" | "expired";

/**
 * Invites a person; an open invitation of the same e-mail is revoked. Answers the id and the token.
 * Throws `capability_missing`, or `invalid_request` naming the field.
 */
export async function invite(
  transaction: Transaction,
  invitation: NewInvitation,
  by: { member: Member; change: Change; tokenKey: Uint8Array },
): Promise<{ id: string; token: string }> {
  const { id: organizationId } = by.member.organization;
  const { email, role, employeeId, expiresAt } = invitation;
  requireAssignable(by.member, role);
  if ((await callerFindByEmail(transaction, email, organizationId)) !== null) {
    throw new PublicError("invalid_request", "Is a member already.", { param: "email" });
  }
  if (employeeId !== null && !(await employeeExists(transaction, organizationId, employeeId))) {
    throw new PublicError("invalid_request", "There is no such employee.", {
      param: "employeeId",
    });
  }
  for (const open of await invitationLockOpen(transaction, organizationId, email)) {
    await revokeOpen(transaction, open, by);
  }
  const id = newId("invitation", by.change.at);
  const { token, secretHmac } = newOpaqueToken("invitation", id, by.tokenKey);
  await invitationInsert(transaction, {
    ...invitation,
    organizationId,
    id,
    secretHmac,
    invitedByUserId: by.member.user.id,
    createdAt: by.change.at,
  }).catch((error: unknown) => {
    if (violatedConstraint(error) === "invitations_one_open") {
      throw new PublicError("invalid_request", "Was invited a moment ago.", { param: "email" });
    }
    throw error;
  });
  await recordAuditEvent(
    transaction,
    {
      organizationId,
      action: "invitation.create",
      subjectId: id,
      after: { email, role, employeeId, expiresAt: expiresAt.toISOString() },
    },
    by.change,
  );
  return { id, token };
}

/**
 * Takes an invitation back. One that is accepted, revoked or expired stays as it is. Throws
 * `not_found`, `version_stale` or `capability_missing`.
 */
export async function revokeInvitation(
  transaction: Transaction,
  invitation: { id: string; expectedVersion: number },
  by: { member: Member; change: Change },
): Promise<InvitationRow> {
  const key = { organizationId: by.member.organization.id, id: invitation.id };
  await invitationLock(transaction, key);
  const before = await invitationFind(transaction, key);
  if (before === null) {
    throw new PublicError("not_found", "There is no such invitation.");
  }
  requireVersion(before, invitation.expectedVersion);
  if (before.accepted_at === null && before.revoked_at === null) {
    await revokeOpen(transaction, before, by);
  }
  return (await invitationFind(transaction, key)) ?? before;
}

/** Accepted and revoked win over expired. */
export function invitationStatus(
  row: Pick<InvitationRow, "accepted_at" | "revoked_at" | "expires_at">,
  now: Date,
): InvitationStatus {
  if (row.accepted_at !== null) {
    return "accepted";
  }
  if (row.revoked_at !== null) {
    return "revoked";
  }
  return row.expires_at <= now ? "expired" : "open";
}

async function revokeOpen(
  transaction: Transaction,
  open: { id: string; role: Role },
  by: { member: Member; change: Change },
): Promise<void> {
  requireAssignable(by.member, open.role);
  const { id: organizationId } = by.member.organization;
  await invitationRevoke(transaction, { organizationId, id: open.id, revokedAt: by.change.at });
  await recordAuditEvent(
    transaction,
    { organizationId, action: "invitation.revoke", subjectId: open.id },
    by.change,
  );
}

function requireAssignable(member: Member, role: Role): void {
  if (!mayAssignRole(member.role, null, role)) {
    throw new PublicError(
      "capability_missing",
      `Your role (${member.role ?? "none"}) may not invite a ${role}.`,
      { param: "role" },
    );
  }
}
