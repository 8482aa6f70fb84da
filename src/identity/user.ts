/** Users: making one, and setting a password. */
import { type Change, recordAuditEvent } from "../audit/audit-event.ts";
import type { Queryable, Transaction } from "../database/client.ts";
import { violatedConstraint } from "../database/sqlstate.ts";
import { PublicError } from "../errors.ts";
import { newId } from "../id.ts";
import { organizationListOfUser } from "./member-queries.ts";
import { hashPassword } from "./password.ts";
import { sessionRevokeAll, userInsert, userSetPassword } from "./queries.ts";

type NewUser = { email: string; name: string };

const PASSWORD_CHARACTERS_MIN = 12;
export const PASSWORD_CHARACTERS_MAX = 1_000;
/** More than anybody works in. */
const ORGANIZATIONS_MAX = 1_000;

/** Creates a user. The e-mail is kept in lower case. Answers the user's id. */
export async function createUserWithPassword(
  sql: Queryable,
  { password, ...user }: NewUser & { password: string },
  now: Date,
): Promise<string> {
  return await createUser(sql, { ...user, passwordHash: await hashNewPassword(password) }, now);
}

/**
 * As above; without a hash the user signs in elsewhere only. Throws `invalid_request` when the
 * e-mail is taken.
 */
export async function createUser(
  sql: Queryable,
  user: NewUser & { passwordHash: string | null },
  now: Date,
): Promise<string> {
  const id = newId("user", now);
  const email = user.email.trim().toLowerCase();
  await userInsert(sql, { ...user, id, email, createdAt: now }).catch((error: unknown) => {
    // A disabled user has it, or another request was faster.
    if (violatedConstraint(error) === "users_email_unique") {
      throw new PublicError("invalid_request", "This e-mail cannot be used.", { param: "email" });
    }
    throw error;
  });
  return id;
}

/** The hash of a password that somebody chose. Throws `invalid_request` when it is too short. */
export async function hashNewPassword(password: string): Promise<string> {
  const { length } = password;
  if (length < PASSWORD_CHARACTERS_MIN || length > PASSWORD_CHARACTERS_MAX) {
    throw new PublicError(
      "invalid_request",
      `A password has ${PASSWORD_CHARACTERS_MIN} to ${PASSWORD_CHARACTERS_MAX} characters.`,
      { param: "password" },
    );
  }
  return await hashPassword(password);
}

/**
 * Gives a user another password and ends all their sessions. One audit row in each organization
 * that they may work in. Answers how many those are.
 */
export async function resetPassword(
  transaction: Transaction,
  user: { id: string; passwordHash: string },
  change: Change,
): Promise<number> {
  await userSetPassword(transaction, user);
  await sessionRevokeAll(transaction, { userId: user.id, organizationId: null, now: change.at });
  const organizations = await organizationListOfUser(transaction, user.id, ORGANIZATIONS_MAX);
  for (const { id: organizationId } of organizations) {
    await recordAuditEvent(
      transaction,
      { organizationId, action: "user.reset_password", subjectId: user.id },
      change,
    );
  }
  return organizations.length;
}
