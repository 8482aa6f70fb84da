/** A new user who signs in with e-mail and password. */
import type { Queryable } from "../database/client.ts";
import { PublicError } from "../errors.ts";
import { newId } from "../id.ts";
import { hashPassword } from "./password.ts";
import { userInsert } from "./queries.ts";

type NewUser = { email: string; name: string; password: string };

const PASSWORD_CHARACTERS_MIN = 12;
export const PASSWORD_CHARACTERS_MAX = 1_000;

/** Creates a user. The e-mail is kept in lower case. Answers the user's id. */
export async function createUserWithPassword(
  sql: Queryable,
  user: NewUser,
  now: Date,
): Promise<string> {
  const { length } = user.password;
  if (length < PASSWORD_CHARACTERS_MIN || length > PASSWORD_CHARACTERS_MAX) {
    throw new PublicError(
      "invalid_request",
      `A password has ${PASSWORD_CHARACTERS_MIN} to ${PASSWORD_CHARACTERS_MAX} characters.`,
      { param: "password" },
    );
  }
  const id = newId("user", now);
  await userInsert(sql, {
    id,
    email: user.email.trim().toLowerCase(),
    name: user.name,
    passwordHash: await hashPassword(user.password),
    createdAt: now,
  });
  return id;
}
