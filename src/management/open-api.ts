/** The OpenAPI document of the whole server: the management routes and the hand-written others. */

import { swagger } from "@elysiajs/swagger";
import { type AnyElysia, Elysia } from "elysia";
import { z } from "zod";
import { errorCatalogue } from "../errors.ts";
import { gatewayComponents, gatewayPaths } from "./gateway-paths.ts";
import { schemaOf } from "./operation-detail.ts";
import { problemResponses } from "./problem-examples.ts";

const SPECIFICATION_URL = "http://management.invalid/openapi.json";

const problem = z.strictObject({
  type: z.string().meta({ example: "about:blank" }),
  title: z.string(),
  status: z.int(),
  detail: z.string().meta({ description: "A sentence for people." }),
  code: z.enum(Object.keys(errorCatalogue)).meta({ description: "For programs." }),
  request_id: z.string(),
  errors: z.array(z.strictObject({ field: z.string(), reason: z.string() })),
  details: z
    .record(z.string(), z.union([z.string(), z.number(), z.boolean()]).nullable())
    .optional()
    .meta({ description: "Facts beside the sentence, such as the present `version`." }),
});

/** Asks the swagger plugin for the document. Its page, which loads from a CDN, is never served. */
export async function describeApi(
  apps: readonly AnyElysia[],
  cookieName: string,
): Promise<unknown> {
  const documented: AnyElysia = new Elysia({ aot: false });
  for (const app of apps) {
    documented.use(app);
  }
  documented.use(swagger({ specPath: "/openapi.json", documentation: documentation(cookieName) }));
  const response = await documented.handle(new Request(SPECIFICATION_URL));
  return await response.json();
}

function documentation(cookieName: string) {
  const document = {
    info: {
      title: "Spendra",
      version: "1",
      description:
        "An AI spend gateway. Applications call `/v1` with an API key; people manage it under " +
        "`/management` with a session cookie: sign in with `POST /management/session` first.",
    },
    tags: tagsOf(),
    paths: gatewayPaths,
    components: {
      securitySchemes: {
        apiKey: { type: "http", scheme: "bearer", bearerFormat: "spk_live_<key id>_<secret>" },
        bearer: {
          type: "http",
          scheme: "bearer",
          description:
            "A service token (`spt_…`), or an access token of the configured identity provider.",
        },
        session: { type: "apiKey", in: "cookie", name: cookieName },
      },
      headers: {
        RequestId: {
          description: "Names this request in the log, the ledger and the audit log.",
          schema: { type: "string" },
        },
        Version: {
          description: "The version in quotation marks; what `If-Match` of a change must be.",
          schema: { type: "string" },
        },
      },
      schemas: { Problem: schemaOf(problem, "output"), ...gatewayComponents.schemas },
      responses: {
        ...problemResponses(),
        ...gatewayComponents.responses,
      },
    },
  };
  // The plugin's types are narrower than JSON Schema; a public validator proves the document.
  return document as NonNullable<Parameters<typeof swagger>[0]>["documentation"] & object;
}

function tagsOf() {
  return [
    { name: "Gateway", description: "What applications call, in the wire format of OpenAI." },
    { name: "Health", description: "What load balancers and people ask. No authentication." },
    { name: "Session", description: "Signing in and out." },
    { name: "Onboarding", description: "The first organization of an installation." },
    { name: "Members", description: "Who belongs to the organization, and who may do what." },
    { name: "Service tokens", description: "What automation presents to this API." },
    { name: "API keys", description: "What applications present." },
    { name: "Budgets", description: "How much may be spent, where and in which period." },
    { name: "Policies", description: "What happens at a limit, and what is allowed at all." },
    { name: "Ledger", description: "The append-only book." },
    { name: "Reservations", description: "What is held, and how it ended." },
    { name: "Requests", description: "What came to the gateway, refused requests included." },
    { name: "Usage", description: "Sums by day." },
    { name: "Organization", description: "The people, agents, teams and projects." },
  ];
}
