/** Invitations: sending, listing, taking back and accepting them. */
import { z } from "zod";
import { inTransaction } from "../database/transaction.ts";
import { PublicError, requireFound } from "../errors.ts";
import { acceptInvitation } from "../identity/accept-invitation.ts";
import { ROLES } from "../identity/capability.ts";
import { invitationStatus, invite, revokeInvitation } from "../identity/invitation.ts";
import {
  type InvitationRow,
  invitationFind,
  invitationList,
} from "../identity/invitation-queries.ts";
import { deriveOpaqueTokenKey } from "../identity/opaque-token.ts";
import { openSession } from "../identity/session.ts";
import { PASSWORD_CHARACTERS_MAX } from "../identity/user.ts";
import { changeSourceOf } from "./change-source.ts";
import type { Dependencies } from "./dependencies.ts";
import { type Endpoint, noBody, noParams, noQuery, type Resource } from "./endpoint.ts";
import { idField, instant, nameField } from "./fields.ts";
import { expiryField, lifetimeEnd } from "./lifetime.ts";
import { memberEndpoint } from "./member-endpoint.ts";
import { cursorOfId, idPlace, pageAnswer, pageOf, pageQuery } from "./page.ts";
import { parseWith, readJsonBody, readQuery } from "./parse.ts";
import { answerSession, emailField, sessionAnswer, sessionExample } from "./session-answer.ts";
import { changeEndpoint, versionAnswer } from "./versioned.ts";

const EXAMPLE_ID = "inv_01KAJ3M2YV8Q4T6W9ZB5C7D1E2";
const EMPLOYEE_EXAMPLE_ID = "emp_01KAJ3M2YV8Q4T6W9ZB5C7D1E2";
const LIFETIME = { daysDefault: 7, daysMax: 30 };
const TOKEN_CHARACTERS_MAX = 200;

const oneInvitation = z.strictObject({ id: idField("invitation", EXAMPLE_ID) });

const createBody = z.strictObject({
  email: emailField,
  role: z.enum(ROLES),
  employeeId: idField("employee", EMPLOYEE_EXAMPLE_ID).nullish(),
  expiresAt: expiryField(LIFETIME),
});

const acceptBody = z.strictObject({
  token: z.string().min(1).max(TOKEN_CHARACTERS_MAX, "is too long"),
  name: nameField.optional().meta({ description: "Of a new user." }),
  password: z
    .string()
    .min(1)
    .max(PASSWORD_CHARACTERS_MAX, "is too long")
    .optional()
    .meta({ description: "The user's own, or that of a new user. Not needed when signed in." }),
});

const invitationAnswer = z.strictObject({
  id: z.string(),
  email: z.string(),
  role: z.enum(ROLES),
  employeeId: z.string().nullable(),
  status: z.enum(["open", "accepted", "revoked", "expired"]),
  invitedByUserId: z.string(),
  createdAt: instant,
  expiresAt: instant,
  version: versionAnswer,
});

const createdAnswer = invitationAnswer.extend({
  token: z.string().meta({ description: "Give it to the person. Shown only in this answer." }),
});

const example: z.output<typeof invitationAnswer> = {
  id: EXAMPLE_ID,
  email: "ada@example.com",
  role: "employee",
  employeeId: EMPLOYEE_EXAMPLE_ID,
  status: "open",
  invitedByUserId: "usr_01KAJ3M2YV8Q4T6W9ZB5C7D1E2",
  createdAt: "2026-11-21T09:30:00.000Z",
  expiresAt: "2026-11-28T09:30:00.000Z",
  version: 1,
};

export function invitationResource(dependencies: Dependencies): Resource {
  return {
    prefix: "/invitations",
    tag: "Members",
    endpoints: [
      listEndpoint(dependencies),
      createEndpoint(dependencies),
      acceptEndpoint(dependencies),
      readEndpoint(dependencies),
      revokeEndpoint(dependencies),
    ],
  };
}

function listEndpoint(dependencies: Dependencies): Endpoint {
  return memberEndpoint(dependencies, {
    method: "GET",
    path: "",
    summary: "List invitations",
    description: "Newest first, also those that are over.",
    params: noParams,
    query: pageQuery,
    body: noBody,
    capabilities: ["member.read"],
    answer: pageAnswer(invitationAnswer),
    answerExample: { items: [example], nextCursor: null },
    run: async ({ query, member, now }) => {
      const rows = await invitationList(dependencies.sql, {
        organizationId: member.organization.id,
        beforeId: idPlace("invitation", query),
        limit: query.limit + 1,
      });
      return pageOf(rows, query.limit, (row) => itemOf(row, now), cursorOfId);
    },
  });
}

function readEndpoint(dependencies: Dependencies): Endpoint {
  return memberEndpoint(dependencies, {
    method: "GET",
    path: "/:id",
    summary: "Read an invitation",
    description: "Without its token, which nobody can read again.",
    params: oneInvitation,
    query: noQuery,
    body: noBody,
    capabilities: ["member.read"],
    answer: invitationAnswer,
    answerExample: example,
    run: async ({ params, member, now }) => {
      const key = { organizationId: member.organization.id, id: params.id };
      return itemOf(requireFound(await invitationFind(dependencies.sql, key), "invitation"), now);
    },
  });
}

function createEndpoint(dependencies: Dependencies): Endpoint {
  const tokenKey = deriveOpaqueTokenKey(dependencies.config.encryptionKey, "invitation");
  return memberEndpoint(dependencies, {
    method: "POST",
    path: "",
    summary: "Invite a person",
    description:
      "The token is shown once, in this answer, works once, and is good for 7 days unless said " +
      "otherwise. An open invitation of the same e-mail is revoked.",
    params: noParams,
    query: noQuery,
    body: createBody,
    bodyExample: { email: "ada@example.com", role: "employee" },
    capabilities: ["member.write"],
    answer: createdAnswer,
    answerExample: { ...example, token: "spi_01KAJ3M2YV8Q4T6W9ZB5C7D1E2_…" },
    status: 201,
    run: async ({ body, member, now, change }) => {
      const expiresAt = lifetimeEnd(body.expiresAt, LIFETIME, now);
      const employeeId = body.employeeId ?? null;
      return await inTransaction(dependencies.sql, async (transaction) => {
        const { id, token } = await invite(
          transaction,
          { email: body.email, role: body.role, employeeId, expiresAt },
          { member, change, tokenKey },
        );
        const key = { organizationId: member.organization.id, id };
        return {
          ...itemOf(requireFound(await invitationFind(transaction, key), "invitation"), now),
          token,
        };
      });
    },
  });
}

function revokeEndpoint(dependencies: Dependencies): Endpoint {
  return changeEndpoint(dependencies, {
    method: "POST",
    path: "/:id/revoke",
    summary: "Take an invitation back",
    description: "Its token opens nothing any more. One that is over stays as it is.",
    params: oneInvitation,
    query: noQuery,
    body: noBody,
    capabilities: ["member.write"],
    answer: invitationAnswer,
    answerExample: { ...example, status: "revoked", version: 2 },
    run: async ({ params, member, now, change, expectedVersion }) => {
      const invitation = { id: params.id, expectedVersion };
      const row = await inTransaction(
        dependencies.sql,
        async (transaction) => await revokeInvitation(transaction, invitation, { member, change }),
      );
      return itemOf(row, now);
    },
  });
}

function acceptEndpoint(dependencies: Dependencies): Endpoint {
  const { sql, callers, signInThrottle, config } = dependencies;
  const tokenKey = deriveOpaqueTokenKey(config.encryptionKey, "invitation");
  return {
    method: "POST",
    path: "/accept",
    documentation: {
      summary: "Accept an invitation",
      description:
        "A new user sends name and password, a user of Spendra their password; who is signed in " +
        "with the invited e-mail, here or at the identity provider, needs neither. Signs in.",
      isOpen: true,
      problems: [401, 404],
      params: noParams,
      query: noQuery,
      body: acceptBody,
      bodyExample: { token: "spi_01KAJ3M2YV8Q4T6W9ZB5C7D1E2_…", name: "Ada", password: "…" },
      answer: sessionAnswer,
      answerExample: sessionExample,
      status: 201,
    },
    respond: async (exchange) => {
      parseWith(noQuery, readQuery(exchange.request));
      const body = parseWith(acceptBody, await readJsonBody(exchange.request));
      const { token, name = null, password = null } = body;
      // A password was sent for the invited e-mail, whoever else is signed in in this browser.
      const provenEmail = password === null ? await callers.provenEmail(exchange) : null;
      const { userId, organizationId } = await acceptInvitation(
        { sql, throttle: signInThrottle, tokenKey },
        { token, name, password, provenEmail, clientAddress: exchange.clientAddress },
        { ...changeSourceOf(exchange), requestId: exchange.requestId, at: exchange.now },
      );
      const session = await openSession(sql, { userId, organizationId }, exchange.now);
      if (session === null) {
        throw new PublicError("not_signed_in");
      }
      return await answerSession(dependencies, exchange, session, 201);
    },
  };
}

function itemOf(row: InvitationRow, now: Date): z.output<typeof invitationAnswer> {
  return {
    id: row.id,
    email: row.email,
    role: row.role,
    employeeId: row.employee_id,
    status: invitationStatus(row, now),
    invitedByUserId: row.invited_by_user_id,
    createdAt: row.created_at.toISOString(),
    expiresAt: row.expires_at.toISOString(),
    version: row.version,
  };
}
