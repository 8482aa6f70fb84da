/** A user's membership in an organization, and the one role that is active in it. */
import { type Change, recordAuditEvent } from "../audit/audit-event.ts";
import type { Transaction } from "../database/client.ts";
import { newId } from "../id.ts";
import type { Role } from "./capability.ts";
import { membershipInsert, membershipUpdate } from "./membership-queries.ts";
import { roleAssignmentInsert, roleAssignmentRevoke } from "./queries.ts";

type NewMembership = {
  organizationId: string;
  userId: string;
  /** The employee that the user is, where the user is one: decides what "own work" means. */
  employeeId: string | null;
};

/** Makes a user a member, without a role and therefore without access. Answers the id. */
export async function createMembership(
  transaction: Transaction,
  membership: NewMembership,
  change: Change,
): Promise<string> {
  const { organizationId, ...facts } = membership;
  const id = newId("membership", change.at);
  await membershipInsert(transaction, { ...membership, id, createdAt: change.at });
  await recordAuditEvent(
    transaction,
    { organizationId, action: "membership.create", subjectId: id, after: facts },
    change,
  );
  return id;
}

/** Makes a former member one again, without a role. Answers the membership's id. */
export async function reviveMembership(
  transaction: Transaction,
  membership: NewMembership & { id: string },
  change: Change,
): Promise<string> {
  const { organizationId, id, ...facts } = membership;
  const { employeeId } = facts;
  const present = { suspendedAt: null, endedAt: null };
  await membershipUpdate(transaction, { organizationId, id, employeeId, ...present });
  await recordAuditEvent(
    transaction,
    { organizationId, action: "membership.revive", subjectId: id, after: facts },
    change,
  );
  return id;
}

/**
 * Grants a role to a membership that has none. The database refuses a second active one. Who may
 * grant which role is decided by the caller: see role-rules.ts.
 */
export async function grantRole(
  transaction: Transaction,
  grant: { organizationId: string; membershipId: string; role: Role },
  change: Change,
): Promise<void> {
  const { organizationId, membershipId, role } = grant;
  const id = newId("roleAssignment", change.at);
  await roleAssignmentInsert(transaction, {
    organizationId,
    id,
    membershipId,
    role,
    grantedByUserId: change.userId,
    grantedAt: change.at,
  });
  await recordAuditEvent(
    transaction,
    { organizationId, action: "role.grant", subjectId: id, after: { membershipId, role } },
    change,
  );
}

/** Takes a membership's role: without one it has no access. */
export async function revokeRole(
  transaction: Transaction,
  held: { organizationId: string; membershipId: string; role: Role },
  change: Change,
): Promise<void> {
  const { organizationId, membershipId, role } = held;
  await roleAssignmentRevoke(transaction, { organizationId, membershipId, revokedAt: change.at });
  await recordAuditEvent(
    transaction,
    { organizationId, action: "role.revoke", subjectId: membershipId, before: { role } },
    change,
  );
}
