/**
 * Changing, suspending and removing members. Three rules hold here and nowhere else: roles are
 * given by role-rules.ts, nobody changes their own, and the last org_admin cannot go (F78 to F80,
 * F91). A refused change leaves nothing behind.
 */
import { type Change, recordAuditEvent } from "../audit/audit-event.ts";
import type { Transaction } from "../database/client.ts";
import { requireVersion } from "../database/require-version.ts";
import { PublicError } from "../errors.ts";
import { employeeExists } from "../organizations/queries.ts";
import type { Role } from "./capability.ts";
import type { Member } from "./member.ts";
import { type MembershipRow, membershipFind } from "./member-queries.ts";
import { grantRole, revokeRole } from "./membership.ts";
import {
  type Areas,
  activeRoleOf,
  membershipAreasReplace,
  membershipLock,
  membershipUpdate,
  otherOrgAdminExists,
  unknownAreas,
} from "./membership-queries.ts";
import { sessionRevokeAll } from "./queries.ts";
import { mayAssignRole } from "./role-rules.ts";

/** Which membership, as its author has seen it, and who wants to change it. */
export type MemberChange = {
  membershipId: string;
  expectedVersion: number;
  by: Member;
  change: Change;
};

/** What is left out stays as it is. */
export type MemberPatch = {
  role?: Role | null | undefined;
  employeeId?: string | null | undefined;
  areas?: Areas | undefined;
};

const NO_AREAS: Areas = { branchIds: [], teamIds: [] };

/**
 * Changes role, employee and areas. Throws `not_found`, `version_stale`, `capability_missing`,
 * `last_org_admin`, or `invalid_request` naming the field.
 */
export async function changeMember(
  transaction: Transaction,
  target: MemberChange,
  patch: MemberPatch,
): Promise<MembershipRow> {
  const before = await lockMember(transaction, target);
  const role = patch.role === undefined ? before.role : patch.role;
  const areas = areasAfter(before, role, patch);
  await requireRight(transaction, target, before, role);
  await refuseUnknown(transaction, target.by.organization.id, patch);
  const { id: organizationId } = target.by.organization;
  await setRole(transaction, target, before.role, role);
  await membershipAreasReplace(transaction, { organizationId, id: before.id }, areas);
  await membershipUpdate(transaction, {
    organizationId,
    id: before.id,
    employeeId: patch.employeeId === undefined ? before.employee_id : patch.employeeId,
    suspendedAt: before.suspended_at,
    endedAt: null,
  });
  const after = (await membershipFind(transaction, { organizationId, id: before.id })) ?? before;
  await recordAuditEvent(
    transaction,
    {
      organizationId,
      action: "membership.change",
      subjectId: before.id,
      before: factsOf(before),
      after: factsOf(after),
    },
    target.change,
  );
  return after;
}

/**
 * Suspends a member, or ends that: a suspended member keeps the role and has no access. Their
 * sessions here are over for good. Throws as `changeMember` does.
 */
export async function setSuspended(
  transaction: Transaction,
  target: MemberChange,
  isSuspended: boolean,
): Promise<MembershipRow> {
  const { organization } = target.by;
  const before = await lockMember(transaction, target);
  await requireRight(transaction, target, before, isSuspended ? null : before.role);
  const at = target.change.at;
  const suspendedAt = isSuspended ? (before.suspended_at ?? at) : null;
  await membershipUpdate(transaction, {
    organizationId: organization.id,
    id: before.id,
    employeeId: before.employee_id,
    suspendedAt,
    endedAt: null,
  });
  await endSessions(transaction, target, before.user_id);
  await recordAuditEvent(
    transaction,
    {
      organizationId: organization.id,
      action: isSuspended ? "membership.suspend" : "membership.resume",
      subjectId: before.id,
      before: { suspendedAt: before.suspended_at?.toISOString() ?? null },
      after: { suspendedAt: suspendedAt?.toISOString() ?? null },
    },
    target.change,
  );
  const key = { organizationId: organization.id, id: before.id };
  return (await membershipFind(transaction, key)) ?? before;
}

/** Ends a membership with its role, areas and sessions. Throws as `changeMember` does. */
export async function removeMember(
  transaction: Transaction,
  target: MemberChange,
): Promise<MembershipRow> {
  const { id: organizationId } = target.by.organization;
  const before = await lockMember(transaction, target);
  await requireRight(transaction, target, before, null);
  await setRole(transaction, target, before.role, null);
  await membershipAreasReplace(transaction, { organizationId, id: before.id }, NO_AREAS);
  await membershipUpdate(transaction, {
    organizationId,
    id: before.id,
    employeeId: before.employee_id,
    suspendedAt: null,
    endedAt: target.change.at,
  });
  await endSessions(transaction, target, before.user_id);
  await recordAuditEvent(
    transaction,
    {
      organizationId,
      action: "membership.remove",
      subjectId: before.id,
      before: factsOf(before),
    },
    target.change,
  );
  return { ...before, role: null, branch_ids: [], team_ids: [], version: before.version + 1 };
}

async function lockMember(transaction: Transaction, target: MemberChange): Promise<MembershipRow> {
  const { id: organizationId } = target.by.organization;
  const byUserId = target.by.user.id;
  await membershipLock(transaction, { organizationId, id: target.membershipId, byUserId });
  // Read in a statement of its own, which sees what the one waited for has left.
  const row = await membershipFind(transaction, { organizationId, id: target.membershipId });
  if (row === null) {
    throw new PublicError("not_found", "There is no such member.");
  }
  requireVersion(row, target.expectedVersion);
  return row;
}

/** Throws unless this caller may bring this member from the present role to another (or none). */
async function requireRight(
  transaction: Transaction,
  { by }: MemberChange,
  before: MembershipRow,
  role: Role | null,
): Promise<void> {
  // Not the role that the request came with: it may have been taken since.
  const actorRole = await activeRoleOf(transaction, by.organization.id, by.user.id);
  if (!mayAssignRole(actorRole, before.role, role)) {
    throw new PublicError(
      "capability_missing",
      "Only an org_admin may change who is org_admin, iam_admin, platform_admin or " +
        "finance_manager, and only an org_admin or iam_admin the other members.",
    );
  }
  if (before.user_id === by.user.id && role !== null && role !== before.role) {
    throw new PublicError("capability_missing", "Nobody changes their own role.", {
      param: "role",
    });
  }
  const leaves = before.role === "org_admin" && role !== "org_admin";
  if (leaves && !(await otherOrgAdminExists(transaction, by.organization.id, before.id))) {
    throw new PublicError(
      "last_org_admin",
      "This is the last org_admin. Make somebody else org_admin first.",
    );
  }
}

async function refuseUnknown(
  transaction: Transaction,
  organizationId: string,
  { employeeId = null, areas = NO_AREAS }: MemberPatch,
): Promise<void> {
  if (employeeId !== null && !(await employeeExists(transaction, organizationId, employeeId))) {
    throw new PublicError("invalid_request", "There is no such employee.", {
      param: "employeeId",
    });
  }
  const [unknown] = await unknownAreas(transaction, organizationId, areas);
  if (unknown !== undefined) {
    throw new PublicError("invalid_request", `There is no branch or team ${unknown}.`, {
      param: "areas",
    });
  }
}

/** Areas go with the role of a manager; nobody else has any. */
function areasAfter(before: MembershipRow, role: Role | null, patch: MemberPatch): Areas {
  const given = patch.areas;
  const hasGiven = given !== undefined && given.branchIds.length + given.teamIds.length > 0;
  if (role !== "manager") {
    if (hasGiven) {
      throw new PublicError("invalid_request", "Only a manager has areas.", { param: "areas" });
    }
    return NO_AREAS;
  }
  return given ?? { branchIds: before.branch_ids, teamIds: before.team_ids };
}

async function setRole(
  transaction: Transaction,
  { by, membershipId, change }: MemberChange,
  from: Role | null,
  to: Role | null,
): Promise<void> {
  if (from === to) {
    return;
  }
  const membership = { organizationId: by.organization.id, membershipId };
  if (from !== null) {
    await revokeRole(transaction, { ...membership, role: from }, change);
  }
  if (to !== null) {
    await grantRole(transaction, { ...membership, role: to }, change);
  }
}

async function endSessions(
  transaction: Transaction,
  { by, change }: MemberChange,
  userId: string,
): Promise<void> {
  const { id: organizationId } = by.organization;
  await sessionRevokeAll(transaction, { userId, organizationId, now: change.at });
}

function factsOf(row: MembershipRow) {
  return {
    role: row.role,
    employeeId: row.employee_id,
    branchIds: row.branch_ids,
    teamIds: row.team_ids,
  };
}
