/** Signing in, asking who is signed in, changing the organization, signing out. */
import { z } from "zod";
import { PublicError } from "../errors.ts";
import { CAPABILITIES, ROLES } from "../identity/capability.ts";
import { organizationListOfUser } from "../identity/member-queries.ts";
import { openSession, revokeSession } from "../identity/session.ts";
import { signIn } from "../identity/sign-in.ts";
import { PASSWORD_CHARACTERS_MAX } from "../identity/user.ts";
import type { Dependencies } from "./dependencies.ts";
import { type Endpoint, noBody, noParams, noQuery, type Resource } from "./endpoint.ts";
import { idField } from "./fields.ts";
import { parseWith, readJsonBody, readQuery } from "./parse.ts";
import {
  answerSession,
  emailField,
  sessionAnswer,
  sessionAnswerOf,
  sessionExample,
} from "./session-answer.ts";
import { endedSessionCookie, readSessionCookie } from "./session-cookie.ts";

const ORGANIZATION_EXAMPLE_ID = "org_01KAJ3M2YV8Q4T6W9ZB5C7D1E2";
const ORGANIZATIONS_MAX = 200;

const signInBody = z.strictObject({
  email: emailField,
  password: z.string().min(1).max(PASSWORD_CHARACTERS_MAX, "is too long"),
  organizationId: idField("organization", ORGANIZATION_EXAMPLE_ID)
    .optional()
    .meta({ description: "For people in several organizations; else the oldest membership." }),
});

const switchBody = z.strictObject({
  organizationId: idField("organization", ORGANIZATION_EXAMPLE_ID),
});

const organizationsAnswer = z.strictObject({
  items: z
    .array(z.strictObject({ id: z.string(), name: z.string(), role: z.enum(ROLES).nullable() }))
    .meta({ description: "Oldest membership first, at most 200." }),
  capabilities: z.array(z.enum(CAPABILITIES)),
});

const documented = { params: noParams, query: noQuery, body: noBody, status: 200 } as const;

export function sessionResource(dependencies: Dependencies): Resource {
  return {
    prefix: "/session",
    tag: "Session",
    endpoints: [
      signInEndpoint(dependencies),
      whoEndpoint(dependencies),
      organizationsEndpoint(dependencies),
      switchEndpoint(dependencies),
      signOutEndpoint(dependencies),
    ],
  };
}

function signInEndpoint(dependencies: Dependencies): Endpoint {
  const { sql, signInThrottle } = dependencies;
  return {
    method: "POST",
    path: "",
    documentation: {
      ...documented,
      summary: "Sign in",
      description: "Sets the session cookie for 12 hours. Five failures in 15 minutes throttle.",
      isOpen: true,
      problems: [401],
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
      const token = await signIn(sql, signInThrottle, attempt, exchange.now);
      return await answerSession(dependencies, exchange, token);
    },
  };
}

function whoEndpoint({ callers }: Dependencies): Endpoint {
  return {
    method: "GET",
    path: "",
    documentation: {
      ...documented,
      summary: "Who is signed in",
      description: "The person, the organization, the role and what it may do.",
      isOpen: false,
      problems: [403],
      answer: sessionAnswer,
      answerExample: sessionExample,
    },
    respond: async (exchange) => {
      const member = await callers.requireMember(exchange);
      parseWith(noQuery, readQuery(exchange.request));
      return Response.json(sessionAnswerOf(member));
    },
  };
}

function organizationsEndpoint({ sql, callers }: Dependencies): Endpoint {
  return {
    method: "GET",
    path: "/organizations",
    documentation: {
      ...documented,
      summary: "Where the signed-in person is a member",
      description: "What `POST /management/session/organization` can change to.",
      isOpen: false,
      problems: [403],
      answer: organizationsAnswer,
      answerExample: {
        items: [{ id: ORGANIZATION_EXAMPLE_ID, name: "Acme", role: "auditor" }],
        capabilities: ["budget.read"],
      },
    },
    respond: async (exchange) => {
      const member = await callers.requireMember(exchange);
      parseWith(noQuery, readQuery(exchange.request));
      const { id, name } = member.organization;
      const items =
        member.serviceTokenId === null
          ? await organizationListOfUser(sql, member.user.id, ORGANIZATIONS_MAX)
          : // A token belongs to one organization, wherever its maker may be a member.
            [{ id, name, role: member.role }];
      return Response.json({ items, capabilities: member.capabilities });
    },
  };
}

function switchEndpoint(dependencies: Dependencies): Endpoint {
  const { sql, callers } = dependencies;
  return {
    method: "POST",
    path: "/organization",
    documentation: {
      ...documented,
      summary: "Change to another organization",
      description: "Sets the cookie of a new session there; the old session is over.",
      isOpen: false,
      problems: [403, 404],
      body: switchBody,
      bodyExample: { organizationId: ORGANIZATION_EXAMPLE_ID },
      answer: sessionAnswer,
      answerExample: sessionExample,
    },
    respond: async (exchange) => {
      const member = await callers.requireMember(exchange);
      if (exchange.request.headers.has("authorization")) {
        throw new PublicError("capability_missing", "Only a session can change; sign in first.");
      }
      parseWith(noQuery, readQuery(exchange.request));
      const body = parseWith(switchBody, await readJsonBody(exchange.request));
      const opening = { userId: member.user.id, organizationId: body.organizationId };
      const token = await openSession(sql, opening, exchange.now);
      if (token === null) {
        throw new PublicError("not_found", "You are not a member of such an organization.");
      }
      return await answerSession(dependencies, exchange, token);
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
