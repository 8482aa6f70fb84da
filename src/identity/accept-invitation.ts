/**
 * Accepting an invitation. Who holds the token proves besides who they are: by the password of the
 * e-mail's user, by setting one where there is no such user yet, or by having proved the e-mail
 * elsewhere. A token alone never opens a user who exists.
 */
import { type Change, recordAuditEvent } from "../audit/audit-event.ts";
import type { Sql, Transaction } from "../database/client.ts";
import { inTransaction } from "../database/transaction.ts";
import { PublicError } from "../errors.ts";
import {
  invitationAccept,
  invitationFindOpen,
  type PresentedInvitation,
} from "./invitation-queries.ts";
import { createMembership, grantRole, reviveMembership } from "./membership.ts";
import { membershipLockOfUser } from "./membership-queries.ts";
import { opensWith, parseOpaqueToken } from "./opaque-token.ts";
import { isPasswordOf } from "./password.ts";
import { userFindByEmail } from "./queries.ts";
import { mayAssignRole } from "./role-rules.ts";
import type { SignInThrottle } from "./sign-in-throttle.ts";
import { createUser, hashNewPassword } from "./user.ts";

export type Acceptance = {
  token: string;
  /** Of a new user; what an existing one is called does not change. */
  name: string | null;
  password: string | null;
  /** In lower case; null where nothing but a password proves who it is. */
  provenEmail: string | null;
  clientAddress: string;
};

type Parts = { sql: Sql; throttle: SignInThrottle; tokenKey: Uint8Array };
type Person = { userId: string } | { name: string; passwordHash: string | null };
type Open = PresentedInvitation & { id: string };

/**
 * Makes the invited person a member with the invitation's role. Answers who and where. Throws
 * `invitation_invalid` (the same for unknown, used, revoked, expired, and for an inviter who may
 * not give the role any more), `wrong_credentials`, `sign_in_throttled`, or `invalid_request`.
 */
export async function acceptInvitation(
  parts: Parts,
  acceptance: Acceptance,
  by: Omit<Change, "userId">,
): Promise<{ userId: string; organizationId: string }> {
  const open = await findOpen(parts, acceptance.token, by.at);
  const person = await identify(parts, open, acceptance, by.at);
  return await inTransaction(parts.sql, async (transaction) => {
    // First, so that of two calls with one token the second waits here and then is refused.
    const key = { organizationId: open.organization_id, id: open.id };
    if (!(await invitationAccept(transaction, { ...key, acceptedAt: by.at }))) {
      throw new PublicError("invitation_invalid");
    }
    const userId =
      "userId" in person
        ? person.userId
        : await createUser(transaction, { ...person, email: open.email }, by.at);
    await join(transaction, open, { ...by, userId });
    return { userId, organizationId: open.organization_id };
  });
}

async function findOpen({ sql, tokenKey }: Parts, token: string, now: Date): Promise<Open> {
  const presented = parseOpaqueToken("invitation", token);
  const row = presented === null ? null : await invitationFindOpen(sql, presented.id, now);
  if (
    presented === null ||
    row === null ||
    !opensWith(presented.secret, row.secret_hmac, tokenKey) ||
    !mayAssignRole(row.inviter_role, null, row.role)
  ) {
    throw new PublicError("invitation_invalid");
  }
  return { ...row, id: presented.id };
}

async function identify(
  { sql, throttle }: Parts,
  open: Open,
  { name, password, provenEmail, clientAddress }: Acceptance,
  now: Date,
): Promise<Person> {
  const user = await userFindByEmail(sql, open.email);
  if (provenEmail !== null) {
    if (provenEmail !== open.email) {
      throw new PublicError("invitation_invalid");
    }
    return user === null ? { name: name ?? open.email, passwordHash: null } : { userId: user.id };
  }
  if (password === null) {
    throw new PublicError("invalid_request", "Is missing.", { param: "password" });
  }
  if (user === null) {
    if (name === null) {
      throw new PublicError("invalid_request", "Is missing.", { param: "name" });
    }
    return { name, passwordHash: await hashNewPassword(password) };
  }
  const subjects = [`email ${open.email}`, `address ${clientAddress}`];
  throttle.begin(subjects, now);
  if (!(await isPasswordOf(password, user.password_hash))) {
    throw new PublicError("wrong_credentials", "This is not the password of the invited e-mail.");
  }
  throttle.takeBack(subjects, now);
  return { userId: user.id };
}

/** A membership that ended comes back to life, without what it was allowed before. */
async function join(
  transaction: Transaction,
  open: Open,
  change: Change & { userId: string },
): Promise<void> {
  const { organization_id: organizationId, employee_id: employeeId, role } = open;
  const { userId } = change;
  const existing = await membershipLockOfUser(transaction, organizationId, userId);
  if (existing !== null && existing.ended_at === null) {
    throw new PublicError("invitation_invalid", "You are a member of this organization already.");
  }
  const membership = { organizationId, userId, employeeId };
  const membershipId =
    existing === null
      ? await createMembership(transaction, membership, change)
      : await reviveMembership(transaction, { ...membership, id: existing.id }, change);
  await grantRole(transaction, { organizationId, membershipId, role }, change);
  await recordAuditEvent(
    transaction,
    { organizationId, action: "invitation.accept", subjectId: open.id, after: { membershipId } },
    change,
  );
}
