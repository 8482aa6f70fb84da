/** Service tokens, and how many requests one session or token may make. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Role } from "../src/identity/capability.ts";
import { RequestThrottle } from "../src/identity/request-throttle.ts";
import { addMember, foundCompany, openManagement } from "./acme.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";

type Made = { id: string; token: string; version: number };

const DAY_MS = 24 * 60 * 60 * 1000;

let database: TestDatabase;
let api: ReturnType<typeof openManagement>;
let acme: Awaited<ReturnType<typeof foundCompany>>;
let globex: Awaited<ReturnType<typeof foundCompany>>;
let root: Awaited<ReturnType<typeof addMember>>;
let iam: Awaited<ReturnType<typeof addMember>>;

beforeAll(async () => {
  database = await testDatabase();
  api = openManagement(database.sql);
  const { now } = api.time;
  acme = await foundCompany(database.sql, "Acme", now);
  globex = await foundCompany(database.sql, "Globex", now);
  root = await add("org_admin");
  iam = await add("iam_admin");
});

afterAll(async () => {
  await database.drop();
});

async function add(role: Role, company = acme) {
  const { organizationId } = company;
  return await addMember(database.sql, { organizationId, role, now: api.time.now });
}

const create = (token: string, body: object) =>
  api.call("POST", "/service-tokens", { token, body: { name: "Export", ...body } });

async function make(role: Role, body: object = {}): Promise<Made> {
  const answer = await create(root.token, { role, ...body });
  expect(answer.status).toBe(201);
  return answer.body as Made;
}

const as = (token: string, method: string, path: string, body?: unknown, more = {}) =>
  api.call(method, path, { headers: { authorization: `Bearer ${token}`, ...more }, body });

describe("a service token", () => {
  test("does what its role may, and its changes name it in the audit log", async () => {
    const { token, id } = await make("finance_manager");
    const scope = { kind: "team", id: acme.teamId };
    const body = { name: "B", scope, amountUsd: "1", period: "day" };
    expect((await as(token, "POST", "/budgets", body)).status).toBe(201);
    expect((await as(token, "GET", "/members")).status).toBe(403);
    const rows = await database.sql`
      select user_id, service_token_id from audit_log where action = 'budget.create'
        and service_token_id is not null
    `;
    expect([...rows]).toEqual([{ user_id: root.userId, service_token_id: id }]);
  });

  test("gives access to nobody, whatever its role", async () => {
    const { token } = await make("org_admin");
    const { membershipId } = await add("employee");
    const ifMatch = { "if-match": '"1"' };
    const invitation = { email: "x@example.com", role: "auditor" };
    for (const answer of [
      await as(token, "POST", "/invitations", invitation),
      await as(token, "POST", "/service-tokens", { name: "T", role: "auditor" }),
      await as(token, "PATCH", `/members/${membershipId}`, { role: "org_admin" }, ifMatch),
    ]) {
      expect(answer).toMatchObject({ status: 403, body: { code: "capability_missing" } });
    }
    expect((await as(token, "GET", "/members")).status).toBe(200);
  });

  test("ends with its time and when it is revoked, at once", async () => {
    const short = await make("auditor", { expiresAt: new Date(api.time.now.getTime() + DAY_MS) });
    const revoked = await make("auditor");
    const headers = { "if-match": '"1"' };
    const path = `/service-tokens/${revoked.id}/revoke`;
    const { token } = root;
    expect((await as(revoked.token, "GET", "/session")).status).toBe(200);
    expect((await api.call("POST", path, { token })).status).toBe(428);
    expect(await api.call("POST", path, { token, headers })).toMatchObject({
      status: 200,
      body: { status: "revoked", version: 2 },
    });
    expect(await as(revoked.token, "GET", "/session")).toMatchObject({
      status: 401,
      body: { code: "not_signed_in" },
    });
    const { now } = api.time;
    api.time.now = new Date(now.getTime() + DAY_MS);
    expect((await as(short.token, "GET", "/session")).status).toBe(401);
    api.time.now = now;
    expect((await as(short.token, "GET", "/session")).status).toBe(200);
  });

  test("is made by who may give its role, and never for a manager or an employee", async () => {
    for (const role of ["org_admin", "iam_admin", "platform_admin", "finance_manager"]) {
      expect((await create(iam.token, { role })).status).toBe(403);
    }
    expect((await create(iam.token, { role: "auditor" })).status).toBe(201);
    for (const role of ["manager", "employee"]) {
      const answer = await create(root.token, { role });
      expect(answer).toMatchObject({ status: 400, body: { errors: [{ field: "role" }] } });
    }
    const elevated = await make("org_admin");
    const headers = { "if-match": '"1"' };
    const path = `/service-tokens/${elevated.id}/revoke`;
    expect((await api.call("POST", path, { token: iam.token, headers })).status).toBe(403);
  });

  test("is stored as a hash, shown once, and no guess opens it", async () => {
    const { token, id } = await make("auditor");
    const secret = token.split("_").slice(2).join("_");
    const one = await api.call("GET", `/service-tokens/${id}`, { token: root.token });
    const stored = JSON.stringify([
      await database.sql`select encode(secret_hmac, 'escape'), t::text from service_tokens t`,
      await database.sql`select a::text from audit_log a`,
      one.body,
      api.lines,
    ]);
    expect(stored).not.toContain(secret);
    const other = (await make("auditor")).token.split("_").slice(2).join("_");
    for (const guess of [`spt_${id.slice(4)}_${other}`, `${token}A`, token.slice(0, -1), "spt_"]) {
      expect((await as(guess, "GET", "/session")).status).toBe(401);
    }
  });

  test("of another organization cannot be seen or revoked", async () => {
    const { id } = await make("auditor");
    const { token } = await add("org_admin", globex);
    const headers = { "if-match": '"1"' };
    expect((await api.call("GET", `/service-tokens/${id}`, { token })).status).toBe(404);
    const path = `/service-tokens/${id}/revoke`;
    expect((await api.call("POST", path, { token, headers })).status).toBe(404);
    expect(
      JSON.stringify((await api.call("GET", "/service-tokens", { token })).body),
    ).not.toContain(id);
  });
});

describe("requests of one session or token", () => {
  test("are 100 at once, then as many a minute, and 429 says when to come back", async () => {
    const limited = openManagement(database.sql, { managementRequestsPerMinute: 100 });
    const { token } = root;
    const many = Array.from({ length: 130 }, () => limited.call("GET", "/session", { token }));
    const answers = await Promise.all(many);
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(100);
    const [refused] = answers.filter(({ status }) => status === 429);
    expect(refused).toMatchObject({ body: { code: "rate_limit_exceeded" } });
    expect(refused?.headers.get("retry-after")).toBe("1");
    expect((await limited.call("GET", "/session", { token: iam.token })).status).toBe(200);
    limited.time.now = new Date(limited.time.now.getTime() + 6_000);
    const later = await Promise.all(
      Array.from({ length: 20 }, () => limited.call("GET", "/session", { token })),
    );
    expect(later.filter(({ status }) => status === 200)).toHaveLength(10);
  });

  test("fit what three open dashboards ask: five answers each, every ten seconds", () => {
    const throttle = new RequestThrottle(100);
    for (let second = 0; second < 3_600; second += 10) {
      for (let request = 0; request < 15; request++) {
        throttle.take("session", new Date(second * 1_000));
      }
    }
  });

  test("do not grow when the clock is set back", () => {
    const throttle = new RequestThrottle(1);
    throttle.take("session", new Date(60_000));
    expect(() => throttle.take("session", new Date(0))).toThrow("At most 1 management request");
  });
});
