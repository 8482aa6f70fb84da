/** Signing in, asking who is signed in, signing out. */
import { z } from "zod";
import { CAPABILITIES, ROLES } from "../identity/capability.ts";
import { findMember, type Member, revokeSession } from "../identity/session.ts";
import { signIn } from "../identity/sign-in.ts";
import { SignInThrottle } from "../identity/sign-in-throttle.ts";
import { PASSWORD_CHARACTERS_MAX } from "../identity/user.ts";
import type { Dependencies } from "./dependencies.ts";
import { type Endpoint, noBody, noParams, noQuery, type Resource } from "./endpoint.ts";
import { idField } from "./fields.ts";
import { requireMember } from "./member-endpoint.ts";
import { parseWith, readJsonBody, readQuery } from "./parse.ts";
import { endedSessionCookie, readSessionCookie, sessionCookie } from "./session-cookie.ts";

const EMAIL_CHARACTERS_MAX = 320;

const signInBody = z.strictObject({
  email: z
    .string()
    .trim()
    .toLowerCase()
    .min(3, "must be an e-mail address")
    .max(EMAIL_CHARACTERS_MAX, "must be an e-mail address")
    .regex(/^[^\s\p{Cc}]+$/u, "must be an e-mail address"),
  password: z.string().min(1).max(PASSWORD_CHARACTERS_MAX, "is too long"),
  organizationId: idField("organization", "org_01KAJ3M2YV8Q4T6W9ZB5C7D1E2")
    .optional()
    .meta({ description: "For people in several organizations; else the oldest membership." }),
});

const sessionAnswer = z.strictObject({
  user: z.strictObject({ id: z.string(), email: z.string(), name: z.string() }),
  organization: z.strictObject({ id: z.string(), name: z.string() }),
  role: z.enum(ROLES).nullable().meta({ description: "Null: a member without any access." }),
  capabilities: z.array(z.enum(CAPABILITIES)),
});

const sessionExample: z.output<typeof sessionAnswer> = {
  user: { id: "usr_01KAJ3M2YV8Q4T6W9ZB5C7D1E2", email: "ada@example.com", name: "Ada" },
  organization: { id: "org_01KAJ3M2YV8Q4T6W9ZB5C7D1E2", name: "Acme" },
  role: "auditor",
  capabilities: ["budget.read", "ledger.read"],
};

const documented = { params: noParams, query: noQuery, body: noBody, status: 200 } as const;

export function sessionResource(dependencies: Dependencies): Resource {
  return {
    prefix: "/session",
    tag: "Session",
    endpoints: [
      signInEndpoint(dependencies),
      whoEndpoint(dependencies),
      signOutEndpoint(dependencies),
    ],
  };
}

function signInEndpoint({ sql, config }: Dependencies): Endpoint {
  const throttle = new SignInThrottle();
  return {
    method: "POST",
    path: "",
    documentation: {
      ...documented,
      summary: "Sign in",
      description: "Sets the session cookie for 12 hours. Five failures in 15 minutes throttle.",
      isOpen: true,
      body: signInBody,
      bodyExample: { email: "ada@example.com", password: "correct horse battery staple" },
      answer: sessionAnswer,
      answerExample: sessionExample,
    },
    respond: async (exchange) => {
      parseWith(noQuery, readQuery(exchange.request));
      const body = parseWith(signInBody, await readJsonBody(exchange.request));
      const { email, password, organizationId = null } = body;
      const attempt = { email, password, organizationId, clientAddress: exchange.clientAddress };
      const token = await signIn(sql, throttle, attempt, exchange.now);
      const previousToken = readSessionCookie(exchange.request, config.publicUrl);
      if (previousToken !== null) {
        // The browser forgets it now; nobody else shall use it either.
        await revokeSession(sql, previousToken, exchange.now);
      }
      exchange.member = await findMember(sql, token, exchange.now);
      const headers = { "set-cookie": sessionCookie(token, config.publicUrl) };
      return Response.json(exchange.member === null ? null : answerOf(exchange.member), {
        headers,
      });
    },
  };
}

function whoEndpoint({ sql, config }: Dependencies): Endpoint {
  return {
    method: "GET",
    path: "",
    documentation: {
      ...documented,
      summary: "Who is signed in",
      description: "The person, the organization, the role and what it may do.",
      isOpen: false,
      answer: sessionAnswer,
      answerExample: sessionExample,
    },
    respond: async (exchange) => {
      const member = await requireMember(sql, exchange, config.publicUrl);
      parseWith(noQuery, readQuery(exchange.request));
      return Response.json(answerOf(member));
    },
  };
}

function signOutEndpoint({ sql, config }: Dependencies): Endpoint {
  return {
    method: "DELETE",
    path: "",
    documentation: {
      ...documented,
      summary: "Sign out",
      description: "Ends the session and its cookie. Without a session it changes nothing.",
      isOpen: true,
      answer: null,
      status: 204,
    },
    respond: async (exchange) => {
      const token = readSessionCookie(exchange.request, config.publicUrl);
      if (token !== null) {
        await revokeSession(sql, token, exchange.now);
      }
      const headers = { "set-cookie": endedSessionCookie(config.publicUrl) };
      return new Response(null, { status: 204, headers });
    },
  };
}

function answerOf(member: Member): z.output<typeof sessionAnswer> {
  const { user, organization, role, capabilities } = member;
  return { user, organization, role, capabilities: [...capabilities] };
}
