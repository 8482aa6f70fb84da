/** Who may do what: every role against every route, own work, and other organizations. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { capabilitiesOf, ROLES, type Role } from "../src/identity/capability.ts";
import { addMember, type Company, foundCompany, openManagement } from "./acme.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";

type Api = ReturnType<typeof openManagement>;

let database: TestDatabase;
let acme: Company;
let globex: Company;
let api: Api;
const tokens = new Map<Role | null, string>();

beforeAll(async () => {
  database = await testDatabase();
  const { sql } = database;
  api = openManagement(sql);
  const { now } = api.time;
  acme = await foundCompany(sql, "Acme", now);
  globex = await foundCompany(sql, "Globex", now);
  const { organizationId, adaId } = acme;
  for (const role of [...ROLES, null]) {
    const isAda = role === "employee" || role === "manager";
    const employee = isAda ? { employeeId: adaId } : {};
    const { token } = await addMember(sql, { organizationId, role, now, ...employee });
    tokens.set(role, token);
  }
});

afterAll(async () => {
  await database.drop();
});

const COLUMNS = [...ROLES, null];

/** A column for each role of COLUMNS: `+` may, `-` may not. The last is a member without a role. */
const MATRIX: readonly [route: string, allowed: string][] = [
  //                         org iam plat fin man emp aud none
  ["GET /session", "+ + + + + + + +"],
  ["GET /employees", "+ + + + + + + -"],
  ["GET /agents", "+ + + + + + + -"],
  ["GET /teams", "+ + + + + + + -"],
  ["GET /projects", "+ + + + + + + -"],
  ["GET /api-keys", "+ + + + + + + -"],
  ["POST /api-keys", "+ + - - + + - -"],
  ["POST /api-keys/:id/revoke", "+ + - - + + - -"],
  ["GET /budgets", "+ - - + - - + -"],
  ["POST /budgets", "+ - - + - - - -"],
  ["GET /policies", "+ - + + - - + -"],
  ["POST /policies hard_cap", "+ - - + - - - -"],
  ["POST /policies per_request_limit", "+ - - + - - - -"],
  ["POST /policies allowlist", "+ - + + - - - -"],
  ["POST /policies/dry-run", "+ - + + - - + -"],
  ["GET /reviews", "+ - - + - - + -"],
  ["GET /ledger-entries", "+ - - + + + + -"],
  ["GET /reservations", "+ - + + + + + -"],
  ["GET /reservations/report", "+ - + + + + + -"],
  ["GET /reservations/baseline", "+ - + + + + + -"],
  ["GET /requests", "+ - + + + + + -"],
  ["GET /usage/daily", "+ - + + + + + -"],
  ["GET /alerts", "+ - + + - - + -"],
  ["POST /settlements/replay", "+ - + - - - - -"],
];

function bodyOf(route: string): unknown {
  const scope = { kind: "team", id: acme.teamId };
  const policy = { name: "P", kind: route.split(" ")[2], scope };
  switch (route) {
    case "POST /api-keys":
      return {
        name: "K",
        actor: { kind: "employee", id: acme.adaId },
        environment: "staging",
        allowedModels: ["*"],
      };
    case "POST /budgets":
      return { name: "B", scope, amountUsd: "1", period: "day" };
    case "POST /policies hard_cap":
      return { name: "P", kind: "hard_cap", budgetId: acme.budgetId };
    case "POST /policies per_request_limit":
      return { ...policy, requestMaxUsd: "1" };
    case "POST /policies allowlist":
      return { ...policy, models: ["gpt-4o-mini"] };
    case "POST /policies/dry-run": {
      const model = "gpt-4o-mini";
      return { apiKeyId: acme.adaKeyId, model, promptTokensMax: 1, completionTokensMax: 1 };
    }
    default:
      return undefined;
  }
}

async function ask(route: string, role: Role | null) {
  const [method = "", path = ""] = route.split(" ");
  return await api.call(method, path.replace(":id", acme.adaKeyId), {
    token: tokens.get(role) ?? "",
    headers: { "if-match": `"${await keyVersion(acme.adaKeyId)}"` },
    body: bodyOf(route),
  });
}

/** What `If-Match` of a change must be; a key that roles take turns to revoke changes once. */
async function keyVersion(id: string): Promise<bigint> {
  const [row] = await database.sql<
    { epoch: bigint }[]
  >`select epoch from api_keys where id = ${id}`;
  return row?.epoch ?? 0n;
}

describe("each role", () => {
  for (const [route, marks] of MATRIX) {
    test(`may use ${route} exactly as the table says`, async () => {
      const answers: Awaited<ReturnType<typeof ask>>[] = [];
      for (const role of COLUMNS) {
        answers.push(await ask(route, role));
      }
      const actual = answers.map(({ status }) => (status < 300 ? "+" : "-")).join(" ");
      expect(actual).toBe(marks);
      for (const { body, status } of answers.filter(({ status: code }) => code >= 300)) {
        expect({ status, body }).toMatchObject({
          status: 403,
          body: { code: "capability_missing" },
        });
      }
    });
  }

  test("is told its capabilities with every answer", async () => {
    const { body } = await ask("GET /budgets", "auditor");
    const { capabilities } = body as { capabilities: readonly string[] };
    expect(capabilities).toEqual([...capabilitiesOf("auditor")]);
    expect(capabilities.every((capability) => capability.endsWith(".read"))).toBe(true);
  });

  test("is the present one: a revoked role counts from the next request on", async () => {
    const { organizationId } = acme;
    const { now } = api.time;
    const { token, membershipId } = await addMember(database.sql, {
      organizationId,
      role: "org_admin",
      now,
    });
    expect((await api.call("GET", "/budgets", { token })).status).toBe(200);
    await database.sql`
      update role_assignments set revoked_at = ${now} where membership_id = ${membershipId}
    `;
    expect((await api.call("GET", "/budgets", { token })).status).toBe(403);
  });
});

test("nobody gets anything without signing in", async () => {
  for (const [route] of MATRIX) {
    const [method = "", path = ""] = route.split(" ");
    const answer = await api.call(method, path.replace(":id", acme.adaKeyId), {
      body: bodyOf(route),
    });
    expect(answer).toMatchObject({ status: 401, body: { code: "not_signed_in" } });
  }
});

describe("an employee", () => {
  const own = ["/api-keys", "/ledger-entries", "/reservations", "/requests"];
  const asEmployee = (method: string, path: string, body?: unknown) =>
    api.call(method, path, { token: tokens.get("employee") ?? "", body });

  test("sees only own keys, entries, reservations and requests", async () => {
    for (const path of own) {
      const text = JSON.stringify((await asEmployee("GET", path)).body);
      expect(text).toContain(acme.adaId);
      expect(text).not.toContain(acme.bobId);
      expect(text).not.toContain(acme.bobKeyId);
    }
  });

  test("sees only the usage of own keys", async () => {
    const { body } = await asEmployee("GET", "/usage/daily?days=1");
    expect(body).toMatchObject({ items: [{ costUsd: "0.00123", calls: 1 }] });
  });

  test("sees the people, teams and projects around own work", async () => {
    expect(JSON.stringify((await asEmployee("GET", "/employees")).body)).not.toContain(acme.bobId);
    expect(JSON.stringify((await asEmployee("GET", "/teams")).body)).toContain(acme.teamId);
    expect(JSON.stringify((await asEmployee("GET", "/projects")).body)).toContain(acme.projectId);
  });

  test("may make keys only for themselves, and revoke only their own", async () => {
    const key = { name: "K", environment: "staging", allowedModels: ["*"] };
    for (const actor of [
      { kind: "employee", id: acme.bobId },
      { kind: "agent", id: acme.agentId },
    ]) {
      const answer = await asEmployee("POST", "/api-keys", { ...key, actor });
      expect(answer).toMatchObject({ status: 403, body: { code: "capability_missing" } });
    }
    const revoked = await api.call("POST", `/api-keys/${acme.bobKeyId}/revoke`, {
      token: tokens.get("employee") ?? "",
      headers: { "if-match": '"1"' },
    });
    expect(revoked).toMatchObject({ status: 404, body: { code: "not_found" } });
  });

  test("may bind a key only to a project that they may see", async () => {
    const { organizationId } = acme;
    const { now } = api.time;
    const { token } = await addMember(database.sql, {
      organizationId,
      role: "employee",
      employeeId: acme.bobId,
      now,
    });
    const body = {
      name: "K",
      environment: "staging",
      allowedModels: ["*"],
      actor: { kind: "employee", id: acme.bobId },
      projectId: acme.projectId,
    };
    const answer = await api.call("POST", "/api-keys", { token, body });
    expect(answer).toMatchObject({ status: 400, body: { errors: [{ field: "projectId" }] } });
  });

  test("who is linked to no employee sees nothing at all", async () => {
    const { organizationId } = acme;
    const { now } = api.time;
    const { token } = await addMember(database.sql, { organizationId, role: "employee", now });
    for (const path of [...own, "/employees", "/agents", "/teams"]) {
      expect((await api.call("GET", path, { token })).body).toMatchObject({ items: [] });
    }
  });
});

describe("another organization", () => {
  const asAdmin = (method: string, path: string, body?: unknown) =>
    api.call(method, path, { token: tokens.get("org_admin") ?? "", body });

  test("never shows in any list", async () => {
    const foreign = Object.values(globex);
    for (const [route] of MATRIX.filter(([name]) => name.startsWith("GET"))) {
      const { status, body } = await asAdmin("GET", route.slice("GET ".length));
      expect(status).toBe(200);
      for (const id of foreign) {
        expect(JSON.stringify(body)).not.toContain(id);
      }
    }
  });

  test("does not add to the usage", async () => {
    const { body } = await asAdmin("GET", "/usage/daily?days=1");
    expect(body).toMatchObject({ items: [{ costUsd: "0.00246", calls: 2 }] });
  });

  test("cannot be reached through a cursor, an id in a path or an id in a body", async () => {
    const key = { name: "K", environment: "staging", allowedModels: ["*"] };
    const actor = { kind: "employee", id: globex.adaId };
    const budget = { name: "B", amountUsd: "1", period: "day" };
    const scopes = [
      { kind: "organization", id: globex.organizationId },
      { kind: "team", id: globex.teamId },
      { kind: "employee", id: globex.adaId },
      { kind: "agent", id: globex.agentId },
      { kind: "api_key", id: globex.adaKeyId },
    ];
    const own = { kind: "employee", id: acme.adaId };
    const cap = { name: "P", kind: "hard_cap", budgetId: globex.budgetId };
    const attempts = [
      asAdmin("POST", "/api-keys", { ...key, actor }),
      asAdmin("POST", "/api-keys", { ...key, actor: own, projectId: globex.projectId }),
      asAdmin("POST", "/policies", cap),
      ...scopes.map((scope) => asAdmin("POST", "/budgets", { ...budget, scope })),
    ];
    for (const answer of await Promise.all(attempts)) {
      expect(answer).toMatchObject({ status: 400, body: { code: "invalid_request" } });
    }
    const revoked = await api.call("POST", `/api-keys/${globex.adaKeyId}/revoke`, {
      token: tokens.get("org_admin") ?? "",
      headers: { "if-match": '"1"' },
    });
    expect(revoked.status).toBe(404);
    const cursor = Buffer.from(globex.adaKeyId).toString("base64url");
    const page = await asAdmin("GET", `/api-keys?cursor=${cursor}`);
    expect(JSON.stringify(page.body)).not.toContain(globex.bobKeyId);
  });

  test("is where a member of two organizations is only when signed in there", async () => {
    const { sql } = database;
    const { now } = api.time;
    const { organizationId } = globex;
    const { token, userId } = await addMember(sql, { organizationId, role: "auditor", now });
    await sql`
      insert into memberships (organization_id, id, user_id, created_at)
      values (${acme.organizationId}, 'mem_second', ${userId}, ${now})
    `;
    const { body } = await api.call("GET", "/session", { token });
    expect(body).toMatchObject({ organization: { id: organizationId } });
    const keys = await api.call("GET", "/api-keys", { token });
    expect(JSON.stringify(keys.body)).not.toContain(acme.adaKeyId);
  });
});
