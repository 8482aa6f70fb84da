/** Keys, budgets, policies and lists through the management API, and what malformed input gets. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { connect } from "../src/database/client.ts";
import { newId } from "../src/id.ts";
import { deriveKeyHmacKey, hmacOfSecret, parseToken } from "../src/keys/token.ts";
import {
  addMember,
  bookCall,
  type Company,
  encryptionKey,
  foundCompany,
  ORIGIN,
  openManagement,
} from "./acme.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";

let database: TestDatabase;
let acme: Company;
let api: ReturnType<typeof openManagement>;
let token: string;
let userId: string;

beforeAll(async () => {
  database = await testDatabase();
  api = openManagement(database.sql);
  const { now } = api.time;
  acme = await foundCompany(database.sql, "Acme", now);
  const { organizationId } = acme;
  ({ token, userId } = await addMember(database.sql, { organizationId, role: "org_admin", now }));
});

afterAll(async () => {
  await database.drop();
});

const get = (path: string) => api.call("GET", path, { token });
const post = (path: string, body: unknown) => api.call("POST", path, { token, body });

const newKey = () => ({
  name: "Checkout assistant",
  actor: { kind: "employee", id: acme.adaId },
  environment: "production",
  allowedModels: ["gpt-4o-mini", "anthropic/*"],
});
const newBudget = () => ({
  name: "Month",
  scope: { kind: "organization", id: acme.organizationId },
  amountUsd: "12.000000001",
  period: "month",
});

type Made = { id: string; token: string };
type Listed = { items: { id: string }[]; nextCursor: string | null };

async function auditOf(subjectId: string) {
  return await database.sql<{ action: string; text: string; user_id: string }[]>`
    select action, user_id, a::text as text from audit_log a
    where subject_id = ${subjectId} order by action
  `;
}

describe("an API key", () => {
  test("is shown whole once and stored only as a hash", async () => {
    const { status, body, headers } = await post("/api-keys", {
      ...newKey(),
      projectId: acme.projectId,
      reservationMaxUsd: "2.5",
      expiresAt: "2999-01-01T00:00:00+01:00",
    });
    expect(status).toBe(201);
    expect(headers.get("cache-control")).toBe("no-store");
    expect(body).toMatchObject({
      actor: { kind: "employee", id: acme.adaId, name: "Ada" },
      projectId: acme.projectId,
      reservationMaxUsd: "2.5",
      status: "active",
      expiresAt: "2998-12-31T23:00:00.000Z",
      allowedProviders: [],
    });
    const made = body as Made & { prefix: string };
    expect(made.token.startsWith(`${made.prefix}_`)).toBe(true);
    const secret = parseToken(made.token)?.secret ?? "";
    const [row] = await database.sql`select secret_hmac from api_keys where id = ${made.id}`;
    const hmac = hmacOfSecret(secret, deriveKeyHmacKey(encryptionKey));
    expect(Buffer.from(row?.["secret_hmac"]).equals(hmac)).toBe(true);
    const dump = await database.sql<{ text: string }[]>`
      select k::text as text from api_keys k
      union all select a::text from audit_log a
      union all select o::text from outbox o
    `;
    expect(dump.map(({ text }) => text).join("\n")).not.toContain(secret);
    expect(JSON.stringify((await get("/api-keys")).body)).not.toContain(secret);
    expect(JSON.stringify(api.lines)).not.toContain(secret);
  });

  test("leaves an audit row with who, what and in which request", async () => {
    const { body, headers } = await post("/api-keys", newKey());
    const [row, ...more] = await auditOf((body as Made).id);
    expect(row).toMatchObject({ action: "api_key.create", user_id: userId });
    expect(row?.text).toContain(headers.get("x-request-id") ?? "missing");
    expect(row?.text).toContain("gpt-4o-mini");
    expect(more).toEqual([]);
  });

  test("is revoked once, with one audit row, however often it is asked for", async () => {
    const { id } = (await post("/api-keys", newKey())).body as Made;
    const path = `/api-keys/${id}/revoke`;
    const revoke = (version: number) =>
      api.call("POST", path, { token, headers: { "if-match": `"${version}"` } });
    const answers = await Promise.all([1, 1, 1].map(revoke));
    expect(answers.filter(({ status }) => status === 409)).toHaveLength(2);
    expect(await revoke(2)).toMatchObject({ status: 200, body: { id, status: "revoked" } });
    const actions = (await auditOf(id)).map(({ action }) => action);
    expect(actions).toEqual(["api_key.create", "api_key.revoke"]);
  });

  test("shows that it is expired or switched off", async () => {
    const expiresAt = new Date(api.time.now.getTime() + 1000).toISOString();
    const { id } = (await post("/api-keys", { ...newKey(), expiresAt })).body as Made;
    const later = openManagement(database.sql);
    later.time.now = new Date(api.time.now.getTime() + 1000);
    const statusOf = async () => {
      const { items } = (await later.call("GET", "/api-keys", { token })).body as Listed;
      return items.find((item) => item.id === id);
    };
    expect(await statusOf()).toMatchObject({ status: "expired" });
    await database.sql`update api_keys set is_active = false, expires_at = null where id = ${id}`;
    expect(await statusOf()).toMatchObject({ status: "inactive" });
  });

  test("is refused for an unknown actor or project, or an expiry in the past", async () => {
    const ulid = "01KAJ3M2YV8Q4T6W9ZB5C7D1E2";
    for (const [field, change] of [
      ["actor.id", { actor: { kind: "agent", id: `agt_${ulid}` } }],
      ["actor.id", { actor: { kind: "employee", id: acme.agentId } }],
      ["projectId", { projectId: `prj_${ulid}` }],
      ["expiresAt", { expiresAt: "2020-01-01T00:00:00Z" }],
    ] as const) {
      const answer = await post("/api-keys", { ...newKey(), ...change });
      expect(answer).toMatchObject({ status: 400, body: { errors: [{ field }] } });
    }
  });
});

describe("a budget", () => {
  test("is made with its scope's name and an audit row", async () => {
    const { status, body } = await post("/budgets", {
      ...newBudget(),
      provider: "openai",
      environment: "staging",
      timeZone: "Europe/Zurich",
    });
    expect(status).toBe(201);
    expect(body).toMatchObject({
      scope: { kind: "organization", id: acme.organizationId, name: "Acme" },
      provider: "openai",
      model: null,
      amountUsd: "12.000000001",
      timeZone: "Europe/Zurich",
      window: null,
    });
    expect(await auditOf((body as Made).id)).toMatchObject([
      { action: "budget.create", user_id: userId },
    ]);
  });

  test("shows limit, settled, held and left of the window that now falls into", async () => {
    const { organizationId, budgetId } = acme;
    const { now } = api.time;
    const started = new Date(now.getTime() - 1000);
    await database.sql`
      insert into budget_windows (
        organization_id, id, budget_id, window_start, window_end,
        limit_nano_usd, held_nano_usd, settled_nano_usd
      )
      values
        (${organizationId}, 'old', ${budgetId}, '2020-01-01', ${started}, 1, 0, 0),
        (${organizationId}, 'now', ${budgetId}, ${started}, null, 10000000000, 250000000, 1)
    `;
    const { items } = (await get("/budgets")).body as Listed;
    expect(items.find(({ id }) => id === budgetId)).toMatchObject({
      window: {
        start: started.toISOString(),
        end: null,
        limitUsd: "10",
        settledUsd: "0.000000001",
        heldUsd: "0.25",
        leftUsd: "9.749999999",
      },
    });
  });

  test("of a fixed range needs both ends in order, and no other period takes them", async () => {
    const ends = { startsAt: "2026-01-01T00:00:00Z", endsAt: "2026-02-01T00:00:00Z" };
    const fixed = { ...newBudget(), period: "fixed" };
    expect((await post("/budgets", { ...fixed, ...ends })).status).toBe(201);
    for (const [field, body] of [
      ["startsAt", { ...fixed, endsAt: ends.endsAt }],
      ["startsAt", { ...newBudget(), startsAt: ends.startsAt }],
      ["endsAt", { ...fixed, startsAt: ends.endsAt, endsAt: ends.startsAt }],
    ] as const) {
      const answer = await post("/budgets", body);
      expect(answer).toMatchObject({ status: 400, body: { errors: [{ field }] } });
    }
  });

  test("is refused unless its amount is an exact amount of dollars", async () => {
    const wrong = ["NaN", "-1", "1e3", "0.0000000001", "", " 1", "1.", "Infinity", "9".repeat(10)];
    for (const amountUsd of [...wrong, 12, null, {}]) {
      const answer = await post("/budgets", { ...newBudget(), amountUsd });
      expect(answer).toMatchObject({ status: 400, body: { errors: [{ field: "amountUsd" }] } });
    }
  });

  test("is refused for a zone, period or scope that does not exist", async () => {
    for (const [field, change] of [
      ["timeZone", { timeZone: "Mars/Olympus" }],
      ["timeZone", { timeZone: "+02:00" }],
      ["period", { period: "fortnight" }],
      ["scope.kind", { scope: { kind: "galaxy", id: "x" } }],
      ["scope.id", { scope: { kind: "team", id: "tea_unknown" } }],
      ["scope.id", { scope: { kind: "subagent", id: acme.agentId } }],
    ] as const) {
      const answer = await post("/budgets", { ...newBudget(), ...change });
      expect(answer).toMatchObject({ status: 400, body: { errors: [{ field }] } });
    }
  });
});

describe("a policy", () => {
  const PARALLEL = { unit: "concurrent_calls", limit: 8 };

  test("of each kind is made and listed with its settings and an audit row", async () => {
    const scope = { kind: "team", id: acme.teamId };
    const policies = [
      { name: "Soft", kind: "soft_cap", budgetId: acme.budgetId },
      { name: "Limit", kind: "per_request_limit", scope, requestMaxUsd: "0.5" },
      { name: "Only", kind: "allowlist", scope, providers: ["openai"], models: ["*"] },
      { name: "Slowly", kind: "rate_limit", scope, unit: "tokens", limit: 90_000, period: "hour" },
      { name: "Few", kind: "rate_limit", scope, ...PARALLEL, model: "gpt-4o" },
    ];
    for (const policy of policies) {
      const { status, body } = await post("/policies", policy);
      expect(status).toBe(201);
      expect(body).toMatchObject(policy);
      expect(await auditOf((body as Made).id)).toMatchObject([{ action: "policy.create" }]);
    }
    const { items } = (await get("/policies")).body as { items: { name: string }[] };
    expect(items.find(({ name }) => name === "Only")).toMatchObject({
      scope: { ...scope, name: "Platform" },
      tools: null,
    });
  });

  test("is refused when there is no such kind or its fields are another's", async () => {
    const scope = { kind: "team", id: acme.teamId };
    const nonsense = await post("/policies", { name: "R", kind: "nonsense", scope });
    expect(nonsense).toMatchObject({ status: 400, body: { errors: [{ field: "kind" }] } });
    expect(JSON.stringify(nonsense.body)).toContain("must be hard_cap");
    for (const [field, body] of [
      ["budgetId", { name: "P", kind: "hard_cap", budgetId: "bud_x" }],
      ["scope", { name: "P", kind: "hard_cap", budgetId: acme.budgetId, scope }],
      ["models", { name: "P", kind: "allowlist", scope }],
      ["models", { name: "P", kind: "allowlist", scope, models: [] }],
      ["period", { name: "P", kind: "rate_limit", scope, unit: "requests", limit: 5 }],
      ["period", { name: "P", kind: "rate_limit", scope, ...PARALLEL, period: "day" }],
      ["limit", { name: "P", kind: "rate_limit", scope, ...PARALLEL, limit: 0.5 }],
      ["requestMaxUsd", { name: "P", kind: "per_request_limit", scope, requestMaxUsd: "0" }],
    ] as const) {
      const answer = await post("/policies", body);
      expect(answer).toMatchObject({ status: 400, body: { errors: [{ field }] } });
    }
  });
});

describe("malformed input", () => {
  test("is refused by the name of each field that is wrong", async () => {
    const { body } = await post("/api-keys", {
      name: "x".repeat(10_000),
      actor: { kind: "employee", id: 7 },
      environment: "moon",
      allowedModels: [],
      colour: "red",
    });
    expect(body).toMatchObject({ type: "about:blank", title: "Bad Request", status: 400 });
    const { errors } = body as { errors: { field: string; reason: string }[] };
    expect(errors.map(({ field }) => field).sort()).toEqual([
      "actor.id",
      "allowedModels",
      "colour",
      "environment",
      "name",
    ]);
    expect(JSON.stringify(body).length).toBeLessThan(1_000);
  });

  test("in a name is refused: blanks, NUL, line breaks, numbers", async () => {
    for (const name of ["", "   ", "a\u0000b", "a\nb", 5, null, ["a"]]) {
      const answer = await post("/budgets", { ...newBudget(), name });
      expect(answer).toMatchObject({ status: 400, body: { errors: [{ field: "name" }] } });
    }
  });

  test("as a body is refused: no JSON, no object, no JSON type, too large", async () => {
    const send = (text: string, headers = {}) =>
      api.call("POST", "/budgets", { token, text, headers });
    for (const text of ["", "{", "[]", "null", '"x"', "7"]) {
      expect(await send(text)).toMatchObject({ status: 400, body: { code: "invalid_request" } });
    }
    const form = await send("{}", { "content-type": "text/plain" });
    expect(form).toMatchObject({ status: 400, body: { code: "invalid_request" } });
    const large = await send(JSON.stringify({ name: "x".repeat(1024 * 1024) }));
    expect(large).toMatchObject({ status: 413, body: { code: "request_too_large" } });
  });

  test("in a query is refused: limits out of range, foreign cursors, unknown names", async () => {
    for (const limit of ["0", "201", "-1", "1.5", "abc", ""]) {
      expect(await get(`/budgets?limit=${limit}`)).toMatchObject({
        status: 400,
        body: { errors: [{ field: "limit" }] },
      });
    }
    const encode = (text: string) => Buffer.from(text).toString("base64url");
    const wrong = ["x", "%00", encode(acme.adaKeyId), encode("1 ent_1"), "a".repeat(500)];
    const huge = encode(`999999999999999999 ${"ent_01KAJ3M2YV8Q4T6W9ZB5C7D1E2"}`);
    for (const cursor of [...wrong, huge]) {
      for (const path of ["/budgets", "/ledger-entries"]) {
        expect(await get(`${path}?cursor=${cursor}`)).toMatchObject({
          status: 400,
          body: { errors: [{ field: "cursor" }] },
        });
      }
    }
    expect(await get("/budgets?page=2")).toMatchObject({ body: { errors: [{ field: "page" }] } });
    expect(await get("/budgets?limit=1&limit=2")).toMatchObject({ status: 400 });
    expect(await get("/reservations?status=lost")).toMatchObject({ status: 400 });
  });

  test("in a path is refused, and so are unknown routes and methods", async () => {
    expect((await api.call("POST", "/api-keys/x/revoke", { token })).status).toBe(400);
    expect((await api.call("POST", "/api-keys/%zz/revoke", { token })).status).toBe(400);
    expect(await get("/nothing")).toMatchObject({ status: 404, body: { code: "unknown_route" } });
    const wrongMethod = await api.call("DELETE", "/budgets", { token });
    expect(wrongMethod).toMatchObject({ status: 405, body: { code: "method_not_allowed" } });
    expect(wrongMethod.headers.get("allow")).toBe("GET, HEAD, POST");
  });
});

describe("a list", () => {
  test("is walked page by page without gap or repetition, also within one instant", async () => {
    const { organizationId, adaKeyId, adaId } = acme;
    const at = new Date(api.time.now.getTime() - 5);
    const booked = new Set<string>();
    for (let call = 0; call < 7; call++) {
      const facts = { organizationId, apiKeyId: adaKeyId, actorId: adaId, at };
      booked.add(await bookCall(database.sql, facts));
    }
    // One entry between two milliseconds, as only the database's own clock writes it.
    await database.sql`
      insert into ledger_entries (
        organization_id, id, occurred_at, kind, debit_account_id, credit_account_id,
        amount_nano_usd
      )
      select
        organization_id, ${newId("ledgerEntry", at)}, occurred_at + interval '7 microseconds',
        'adjustment', debit_account_id, credit_account_id, 1
      from ledger_entries
      where organization_id = ${organizationId}
      order by occurred_at
      limit 1
    `;
    const all = (await get("/ledger-entries?limit=200")).body as Listed;
    const walked: string[] = [];
    let path = "/ledger-entries?limit=2";
    for (let page = 0; page < 20; page++) {
      const { items, nextCursor } = (await get(path)).body as Listed;
      walked.push(...items.map(({ id }) => id));
      if (nextCursor === null) {
        break;
      }
      path = `/ledger-entries?limit=2&cursor=${nextCursor}`;
    }
    expect(walked).toEqual(all.items.map(({ id }) => id));
    expect(new Set(walked).size).toBe(10);
    expect(booked.isSubsetOf(new Set(walked))).toBe(true);
  });

  test("of keys is walked by id, newest first", async () => {
    const all = (await get("/api-keys?limit=200")).body as Listed;
    const first = (await get("/api-keys?limit=1")).body as Listed;
    const second = (await get(`/api-keys?limit=1&cursor=${first.nextCursor}`)).body as Listed;
    expect([...first.items, ...second.items]).toEqual(all.items.slice(0, 2));
  });

  test("of ledger entries links request, reservation, event, key, actor and model", async () => {
    const { items } = (await get("/ledger-entries?limit=200")).body as Listed;
    const settled = items.find((item) => "kind" in item && item.kind === "settlement");
    expect(settled).toMatchObject({
      amountUsd: "0.00123",
      provider: "openai",
      model: "gpt-4o-mini",
      usageSource: "provider",
    });
    const ids = JSON.stringify(settled).match(/"(req|rsv|spe|key|emp)_[0-9A-Z]{26}"/g);
    expect(ids).toHaveLength(5);
  });

  test("of reservations is filtered by status", async () => {
    const settled = (await get("/reservations?status=settled")).body as Listed;
    const held = (await get("/reservations?status=held")).body as Listed;
    expect(settled.items.length).toBeGreaterThan(0);
    expect(settled.items[0]).toMatchObject({ amountUsd: "0.0105", costUsd: "0.00123" });
    expect(held.items).toEqual([]);
  });

  test("of usage has every day, oldest first, today last", async () => {
    const { items } = (await get("/usage/daily")).body as { items: { date: string }[] };
    expect(items).toHaveLength(30);
    expect(items.at(-1)).toMatchObject({ date: api.time.now.toISOString().slice(0, 10) });
    expect(items[0]).toMatchObject({ costUsd: "0", calls: 0 });
    expect((await get("/usage/daily?days=367")).status).toBe(400);
  });
});

describe("failures", () => {
  test("of the database are 503 with Retry-After, never 401", async () => {
    const sql = connect("postgres://nobody@127.0.0.1:1/none", {
      connectionsMax: 1,
      applicationName: "unreachable",
    });
    // Closed rather than far away: the driver says it at once, and means the same.
    await sql.end();
    const away = openManagement(sql);
    const answer = await away.call("GET", "/budgets", { token });
    expect(answer).toMatchObject({ status: 503, body: { code: "reservation_unavailable" } });
    expect(answer.headers.get("retry-after")).toBe("5");
    const signIn = { email: "a@example.com", password: "x" };
    for (let attempt = 0; attempt < 7; attempt++) {
      expect((await away.call("POST", "/session", { body: signIn })).status).toBe(503);
    }
  });

  test("of ours are 500 without a word of the cause, and logged once", async () => {
    const broken = openManagement(database.sql);
    const { sql } = database;
    await sql`alter table policies rename column name to broken_column`;
    const answer = await broken.call("GET", "/policies", { token });
    await sql`alter table policies rename column broken_column to name`;
    expect(answer).toMatchObject({ status: 500, body: { code: "internal_error" } });
    expect(JSON.stringify(answer.body)).not.toContain("column");
    const failed = broken.lines.filter(({ event }) => event === "management.request_failed");
    expect(failed).toHaveLength(1);
    expect(failed[0]?.fields).toMatchObject({ route: "/management/policies", status: 500, userId });
  });

  test("are told under the request id of the header", async () => {
    const { headers, body } = await get("/nothing");
    expect(body).toMatchObject({ request_id: headers.get("x-request-id") ?? "missing" });
  });
});

test("HEAD answers as GET does, without a body", async () => {
  const request = new Request(`${ORIGIN}/management/session`, {
    method: "HEAD",
    headers: { cookie: `spendra_session=${token}` },
  });
  const response = await api.management.handle(request, "192.0.2.1");
  expect({ status: response.status, body: await response.text() }).toEqual({
    status: 200,
    body: "",
  });
});
