/** The OpenAPI document and the page that shows it. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Validator } from "@seriousme/openapi-schema-validator";
import { connect, type Sql } from "../src/database/client.ts";
import { docsRoutes } from "../src/management/docs-page.ts";
import { openManagement } from "./acme.ts";

type Content = Record<string, { schema?: unknown; example?: unknown }>;
type Operation = {
  operationId: string;
  summary?: string;
  tags?: string[];
  parameters?: { name: string; in: string; schema?: object }[];
  requestBody?: { content: Content };
  responses: Record<string, { $ref?: string; content?: Content }>;
  security?: object[];
};
type Document = { openapi: string; paths: Record<string, Record<string, Operation>> };

let sql: Sql;
let document: Document;

beforeAll(async () => {
  // Never connected to: the document needs no database.
  sql = connect("postgres://127.0.0.1:1/none", { connectionsMax: 1, applicationName: "none" });
  document = (await openManagement(sql).management.openApiDocument()) as Document;
});

afterAll(async () => {
  await sql.end();
});

const operations = () =>
  Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  );

describe("the OpenAPI document", () => {
  test("is accepted by a public validator", async () => {
    const result = await new Validator().validate(structuredClone(document));
    expect(result).toEqual({ valid: true });
    expect(document.openapi).toMatch(/^3\./);
  });

  test("describes every route once", () => {
    const routes = operations().map(({ method, path }) => `${method.toUpperCase()} ${path}`);
    expect(routes.sort()).toEqual([
      "DELETE /management/session",
      "GET /health",
      "GET /health/live",
      "GET /health/ready",
      "GET /management/agents",
      "GET /management/agents/{id}",
      "GET /management/alerts",
      "GET /management/api-keys",
      "GET /management/api-keys/{id}",
      "GET /management/audit",
      "GET /management/audit/export",
      "GET /management/audit/{id}",
      "GET /management/blocks",
      "GET /management/blocks/{id}",
      "GET /management/branches",
      "GET /management/branches/{id}",
      "GET /management/budgets",
      "GET /management/budgets/{id}",
      "GET /management/budgets/{id}/increases",
      "GET /management/capabilities",
      "GET /management/employees",
      "GET /management/employees/{id}",
      "GET /management/invitations",
      "GET /management/invitations/{id}",
      "GET /management/ledger-entries",
      "GET /management/members",
      "GET /management/members/{id}",
      "GET /management/onboarding",
      "GET /management/organizations/{id}",
      "GET /management/policies",
      "GET /management/policies/{id}",
      "GET /management/projects",
      "GET /management/projects/{id}",
      "GET /management/requests",
      "GET /management/reservations",
      "GET /management/reservations/baseline",
      "GET /management/reservations/report",
      "GET /management/reviews",
      "GET /management/reviews/{id}",
      "GET /management/service-tokens",
      "GET /management/service-tokens/{id}",
      "GET /management/session",
      "GET /management/session/organizations",
      "GET /management/teams",
      "GET /management/teams/{id}",
      "GET /management/usage/daily",
      "GET /v1/budget",
      "GET /v1/models",
      "PATCH /management/agents/{id}",
      "PATCH /management/api-keys/{id}",
      "PATCH /management/branches/{id}",
      "PATCH /management/budgets/{id}",
      "PATCH /management/employees/{id}",
      "PATCH /management/members/{id}",
      "PATCH /management/organizations/{id}",
      "PATCH /management/policies/{id}",
      "PATCH /management/projects/{id}",
      "PATCH /management/teams/{id}",
      "POST /management/agents",
      "POST /management/agents/{id}/archive",
      "POST /management/api-keys",
      "POST /management/api-keys/{id}/revoke",
      "POST /management/api-keys/{id}/rotate",
      "POST /management/blocks",
      "POST /management/blocks/{id}/lift",
      "POST /management/branches",
      "POST /management/branches/{id}/archive",
      "POST /management/budgets",
      "POST /management/budgets/{id}/archive",
      "POST /management/budgets/{id}/increases",
      "POST /management/budgets/{id}/increases/{increaseId}/end",
      "POST /management/employees",
      "POST /management/employees/{id}/archive",
      "POST /management/invitations",
      "POST /management/invitations/accept",
      "POST /management/invitations/{id}/revoke",
      "POST /management/members/{id}/remove",
      "POST /management/members/{id}/resume",
      "POST /management/members/{id}/suspend",
      "POST /management/onboarding",
      "POST /management/policies",
      "POST /management/policies/dry-run",
      "POST /management/policies/{id}/archive",
      "POST /management/projects",
      "POST /management/projects/{id}/archive",
      "POST /management/reviews/{id}/deny",
      "POST /management/reviews/{id}/grant",
      "POST /management/service-tokens",
      "POST /management/service-tokens/{id}/revoke",
      "POST /management/session",
      "POST /management/session/organization",
      "POST /management/settlements/replay",
      "POST /management/teams",
      "POST /management/teams/{id}/archive",
      "POST /v1/chat/completions",
    ]);
    const ids = operations().map(({ operation }) => operation.operationId);
    expect(new Set(ids).size).toBe(ids.length);
  });

  test("gives every management route a summary, a tag, schemas, examples and problems", () => {
    for (const { path, operation } of operations()) {
      expect(operation.summary).toBeString();
      expect(operation.tags).toHaveLength(1);
      if (!path.startsWith("/management")) {
        continue;
      }
      const { requestBody, responses } = operation;
      if (requestBody !== undefined) {
        expect(requestBody.content["application/json"]?.schema).toBeObject();
        expect(requestBody.content["application/json"]?.example).toBeObject();
      }
      const [status = ""] = Object.keys(responses).filter((code) => code.startsWith("2"));
      const content = responses[status]?.content ?? {};
      const answer = content["application/json"] ?? content["application/x-ndjson"];
      expect(
        status === "204" || (answer?.schema !== undefined && answer.example !== undefined),
      ).toBe(true);
      expect(responses["503"]?.$ref).toBe("#/components/responses/Problem503");
    }
  });

  test("names the session cookie as it is set, and asks signing in for none", async () => {
    const secure = openManagement(sql, { publicUrl: "https://spendra.example.com" });
    const text = JSON.stringify(await secure.management.openApiDocument());
    expect(text).toContain("__Host-spendra_session");
    expect(document.paths["/management/session"]?.["post"]?.security).toEqual([]);
    expect(document.paths["/management/budgets"]?.["get"]?.security).toEqual([
      { session: [] },
      { bearer: [] },
    ]);
    expect(document.paths["/v1/models"]?.["get"]?.security).toEqual([{ apiKey: [] }]);
  });

  test("says limits, patterns and defaults as they are enforced", () => {
    const list = document.paths["/management/budgets"]?.["get"];
    expect(list?.parameters?.find(({ name }) => name === "limit")).toMatchObject({
      in: "query",
      schema: { type: "integer", minimum: 1, maximum: 200, default: 50 },
    });
    const create = document.paths["/management/budgets"]?.["post"];
    expect(create?.requestBody?.content["application/json"]?.schema).toMatchObject({
      required: ["name", "scope", "amountUsd", "period"],
      additionalProperties: false,
    });
  });

  test("holds nothing of zod's insides", () => {
    expect(JSON.stringify(document)).not.toMatch(/"(~standard|_zod|def|vendor)"/);
  });
});

describe("the documentation page", () => {
  const bodyOf = async (path: string) =>
    await (docsRoutes().get(path)?.() ?? new Response()).text();

  test("refers only to files that are served beside it", async () => {
    const page = await bodyOf("/docs");
    const references = [...page.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path]) => path ?? "");
    expect(references).toHaveLength(4);
    for (const path of references) {
      const response = docsRoutes().get(path)?.();
      expect(response?.status).toBe(200);
      expect((await response?.bytes())?.length).toBeGreaterThan(100);
    }
    expect(page + (await bodyOf("/docs/assets/start.js"))).not.toMatch(/https?:\/\//);
  });

  test("forbids scripts inside the page and everything from other hosts", () => {
    for (const respond of docsRoutes().values()) {
      const policy = respond().headers.get("content-security-policy");
      expect(policy).toContain("default-src 'none'; script-src 'self';");
      expect(policy).not.toMatch(/https?:|\*/);
    }
  });

  test("does not send the document to a validator on the internet", async () => {
    expect(await bodyOf("/docs/assets/start.js")).toContain("validatorUrl: null");
  });
});
