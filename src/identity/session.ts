/**
 * Sessions: a random token in the browser's cookie, its SHA-256 in the database. A plain hash is
 * enough here, because a 256-bit random token cannot be guessed as a password can.
 */
import { createHash, randomBytes } from "node:crypto";
import type { Queryable } from "../database/client.ts";
import { type Member, memberOf } from "./member.ts";
import { callerFindBySession } from "./member-queries.ts";
import { sessionDeleteEnded, sessionInsert, sessionRevoke } from "./queries.ts";

export type { Member } from "./member.ts";

export const SESSION_LIFETIME_SECONDS = 12 * 60 * 60;

const TOKEN_BYTES = 32;
const TOKEN = /^[A-Za-z0-9_-]{43}$/;

/** Opens a session and answers its token, or null when the user is no member. */
export async function openSession(
  sql: Queryable,
  session: { userId: string; organizationId: string | null },
  now: Date,
): Promise<string | null> {
  const token = randomBytes(TOKEN_BYTES).toString("base64url");
  await sessionDeleteEnded(sql, session.userId, now);
  const isOpened = await sessionInsert(sql, {
    tokenHash: hashToken(token),
    userId: session.userId,
    organizationId: session.organizationId,
    createdAt: now,
    expiresAt: new Date(now.getTime() + SESSION_LIFETIME_SECONDS * 1000),
  });
  return isOpened ? token : null;
}

/** Who presents this token, or null when nobody may with it any more. */
export async function findMember(sql: Queryable, token: string, now: Date): Promise<Member | null> {
  if (!TOKEN.test(token)) {
    return null;
  }
  const row = await callerFindBySession(sql, hashToken(token), now);
  return row === null ? null : await memberOf(sql, row);
}

/** Ends a session. Ending one that is unknown or over changes nothing. */
export async function revokeSession(sql: Queryable, token: string, now: Date): Promise<void> {
  if (TOKEN.test(token)) {
    await sessionRevoke(sql, hashToken(token), now);
  }
}

function hashToken(token: string): Uint8Array {
  return createHash("sha256").update(token).digest();
}
