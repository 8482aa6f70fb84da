/** Sign-in with e-mail and password. */
import type { Sql } from "../database/client.ts";
import { PublicError } from "../errors.ts";
import { isPasswordOf } from "./password.ts";
import { userFindByEmail } from "./queries.ts";
import { openSession } from "./session.ts";
import type { SignInThrottle } from "./sign-in-throttle.ts";

type SignIn = {
  /** In lower case. */
  email: string;
  password: string;
  /** Null: the user's oldest membership. */
  organizationId: string | null;
  clientAddress: string;
};

/**
 * Verifies the password and opens a session. Answers the session's token. Throws
 * `sign_in_throttled`, `wrong_credentials` (the same for an unknown e-mail, a disabled user and a
 * wrong password), or `capability_missing` when the user belongs to no organization.
 */
export async function signIn(
  sql: Sql,
  throttle: SignInThrottle,
  attempt: SignIn,
  now: Date,
): Promise<string> {
  const subjects = [`email ${attempt.email}`, `address ${attempt.clientAddress}`];
  throttle.begin(subjects, now);
  const user = await userFindByEmail(sql, attempt.email).catch((error: unknown) => {
    // A database that is away says nothing about the password.
    throttle.takeBack(subjects, now);
    throw error;
  });
  const isRight = await isPasswordOf(attempt.password, user?.password_hash ?? null);
  if (user === null || !isRight) {
    throw new PublicError("wrong_credentials");
  }
  throttle.takeBack(subjects, now);
  const token = await openSession(
    sql,
    { userId: user.id, organizationId: attempt.organizationId },
    now,
  );
  if (token === null) {
    throw new PublicError("capability_missing", "You are not a member of such an organization.");
  }
  return token;
}
