/** The first organization of an installation, founded over the network by its operator. */
import { z } from "zod";
import { inTransaction } from "../database/transaction.ts";
import { PublicError } from "../errors.ts";
import { foundFirstOrganization } from "../identity/found-organization.ts";
import { anyOrganization } from "../identity/queries.ts";
import { openSession } from "../identity/session.ts";
import { isSetupCode } from "../identity/setup-code.ts";
import { hashNewPassword, PASSWORD_CHARACTERS_MAX } from "../identity/user.ts";
import { changeSourceOf } from "./change-source.ts";
import type { Dependencies } from "./dependencies.ts";
import { type Endpoint, noBody, noParams, noQuery, type Resource } from "./endpoint.ts";
import { nameField } from "./fields.ts";
import { parseWith, readJsonBody, readQuery } from "./parse.ts";
import { answerSession, emailField, sessionAnswer, sessionExample } from "./session-answer.ts";

const SETUP_CODE_CHARACTERS_MAX = 100;

const foundBody = z.strictObject({
  setupCode: z
    .string()
    .min(1)
    .max(SETUP_CODE_CHARACTERS_MAX, "is too long")
    .meta({ description: "What `spendra organization setup-code` prints." }),
  organizationName: nameField,
  name: nameField.meta({ description: "Of the administrator." }),
  email: emailField,
  password: z.string().min(1).max(PASSWORD_CHARACTERS_MAX, "is too long"),
  hasOpenAiAccount: z.boolean().default(false).meta({
    description: "Makes the provider account `openai`, whose key is `OPENAI_API_KEY` of the node.",
  }),
});

const statusAnswer = z.strictObject({
  isOpen: z.boolean().meta({ description: "True until there is an organization." }),
});

const documented = { params: noParams, query: noQuery, isOpen: true } as const;

export function onboardingResource(dependencies: Dependencies): Resource {
  return {
    prefix: "/onboarding",
    tag: "Onboarding",
    endpoints: [statusEndpoint(dependencies), foundEndpoint(dependencies)],
  };
}

function statusEndpoint({ sql }: Dependencies): Endpoint {
  return {
    method: "GET",
    path: "",
    documentation: {
      ...documented,
      summary: "Whether the first organization is still to be founded",
      description: "Says nothing else, and nobody has to sign in to ask.",
      body: noBody,
      answer: statusAnswer,
      answerExample: { isOpen: false },
      status: 200,
    },
    respond: async (exchange) => {
      parseWith(noQuery, readQuery(exchange.request));
      return Response.json({ isOpen: !(await anyOrganization(sql)) });
    },
  };
}

function foundEndpoint(dependencies: Dependencies): Endpoint {
  const { sql, config, signInThrottle } = dependencies;
  return {
    method: "POST",
    path: "",
    documentation: {
      ...documented,
      summary: "Found the first organization",
      description:
        "Creates the organization and its org_admin, and signs them in. Only while there is no " +
        "organization, and only with the setup code of this installation.",
      problems: [401, 409],
      body: foundBody,
      bodyExample: {
        setupCode: "…",
        organizationName: "Acme",
        name: "Ada",
        email: "ada@example.com",
        password: "correct horse battery staple",
      },
      answer: sessionAnswer,
      answerExample: sessionExample,
      status: 201,
    },
    respond: async (exchange) => {
      parseWith(noQuery, readQuery(exchange.request));
      const body = parseWith(foundBody, await readJsonBody(exchange.request));
      const { requestId, clientAddress, now } = exchange;
      const subjects = [`address ${clientAddress}`];
      signInThrottle.begin(subjects, now);
      if (!isSetupCode(body.setupCode, config.encryptionKey)) {
        throw new PublicError("wrong_credentials", "The setup code is wrong.", {
          param: "setupCode",
        });
      }
      signInThrottle.takeBack(subjects, now);
      const { name, email } = body;
      const admin = { name, email, passwordHash: await hashNewPassword(body.password) };
      const founded = await inTransaction(sql, (transaction) =>
        foundFirstOrganization(
          transaction,
          { name: body.organizationName, admin, hasOpenAiAccount: body.hasOpenAiAccount },
          { userId: null, requestId, at: now, ...changeSourceOf(exchange) },
        ),
      );
      const token = founded === null ? null : await openSession(sql, founded, now);
      if (token === null) {
        throw new PublicError("onboarding_closed");
      }
      return await answerSession(dependencies, exchange, token, 201);
    },
  };
}
