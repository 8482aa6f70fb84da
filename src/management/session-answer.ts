/** What is answered about who is signed in; and the opening of a session. */
import { z } from "zod";
import { CAPABILITIES, ROLES } from "../identity/capability.ts";
import type { Member } from "../identity/member.ts";
import { findMember, revokeSession } from "../identity/session.ts";
import type { Dependencies } from "./dependencies.ts";
import type { Exchange } from "./endpoint.ts";
import { readSessionCookie, sessionCookie } from "./session-cookie.ts";

const EMAIL_CHARACTERS_MAX = 320;

export const emailField = z
  .string()
  .trim()
  .toLowerCase()
  .min(3, "must be an e-mail address")
  .max(EMAIL_CHARACTERS_MAX, "must be an e-mail address")
  .regex(/^[^\s\p{Cc}@]+@[^\s\p{Cc}@]+$/u, "must be an e-mail address");

export const sessionAnswer = z.strictObject({
  user: z.strictObject({ id: z.string(), email: z.string(), name: z.string() }),
  organization: z.strictObject({ id: z.string(), name: z.string() }),
  role: z.enum(ROLES).nullable().meta({ description: "Null: a member without any access." }),
  capabilities: z.array(z.enum(CAPABILITIES)),
});

export const sessionExample: z.output<typeof sessionAnswer> = {
  user: { id: "usr_01KAJ3M2YV8Q4T6W9ZB5C7D1E2", email: "ada@example.com", name: "Ada" },
  organization: { id: "org_01KAJ3M2YV8Q4T6W9ZB5C7D1E2", name: "Acme" },
  role: "auditor",
  capabilities: ["budget.read", "ledger.read"],
};

export function sessionAnswerOf(member: Member): z.output<typeof sessionAnswer> {
  const { user, organization, role, capabilities } = member;
  return { user, organization, role, capabilities: [...capabilities] };
}

/** Answers who is signed in with the new session, and sets its cookie; the old one is over. */
export async function answerSession(
  { sql, config }: Dependencies,
  exchange: Exchange,
  token: string,
  status: 200 | 201 = 200,
): Promise<Response> {
  const previousToken = readSessionCookie(exchange.request, config.publicUrl);
  if (previousToken !== null) {
    // The browser forgets it now; nobody else shall use it either.
    await revokeSession(sql, previousToken, exchange.now);
  }
  exchange.member = await findMember(sql, token, exchange.now);
  const headers = { "set-cookie": sessionCookie(token, config.publicUrl) };
  const answer = exchange.member === null ? null : sessionAnswerOf(exchange.member);
  return Response.json(answer, { status, headers });
}
