/** API keys over the management API: reading, changing, rotating and revoking them, and who may. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { connect, type Sql } from "../src/database/client.ts";
import type { PublicError } from "../src/errors.ts";
import { createAuthenticator } from "../src/keys/authenticate.ts";
import { deriveKeyHmacKey } from "../src/keys/token.ts";
import {
  type Answer,
  addMember,
  bookCall,
  type Company,
  encryptionKey,
  foundCompany,
  openManagement,
} from "./acme.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";

type Key = { id: string; version: number; token: string; status: string };

const MODELS = ["gpt-4o-mini"];
const DAY_SECONDS = 86_400;

let database: TestDatabase;
let acme: Company;
let globex: Company;
let api: ReturnType<typeof openManagement>;
let admin: string;
let ada: string;

beforeAll(async () => {
  database = await testDatabase();
  const { sql } = database;
  api = openManagement(sql);
  const { now } = api.time;
  acme = await foundCompany(sql, "Acme", now);
  globex = await foundCompany(sql, "Globex", now);
  const { organizationId } = acme;
  admin = (await addMember(sql, { organizationId, role: "org_admin", now })).token;
  const asAda = { organizationId, role: "employee", employeeId: acme.adaId, now } as const;
  ada = (await addMember(sql, asAda)).token;
});

afterAll(async () => {
  await database.drop();
});

async function createKey(fields: object = {}): Promise<Key> {
  const actor = { kind: "employee", id: acme.adaId };
  const body = { name: "K", actor, environment: "production", allowedModels: MODELS, ...fields };
  const answer = await api.call("POST", "/api-keys", { token: admin, body });
  expect(answer.status).toBe(201);
  return answer.body as Key;
}

function read(id: string, token = admin): Promise<Answer> {
  return api.call("GET", `/api-keys/${id}`, { token });
}

function send(key: Pick<Key, "id" | "version">, verb: string, body?: unknown, token = admin) {
  const [method, path] = verb === "" ? ["PATCH", ""] : ["POST", `/${verb}`];
  return api.call(method ?? "", `/api-keys/${key.id}${path}`, {
    token,
    body,
    headers: { "if-match": `"${key.version}"` },
  });
}

async function auditOf(id: string) {
  return await database.sql<{ action: string; before: unknown; after: unknown }[]>`
    select action, before, after from audit_log where subject_id = ${id}
    order by action <> 'api_key.create', action
  `;
}

async function refusalOf(opened: Promise<unknown>): Promise<string> {
  return await opened.then(
    () => "opened",
    (refusal: PublicError) => refusal.code,
  );
}

function authenticator() {
  const hmacKey = deriveKeyHmacKey(encryptionKey);
  const clock = { now: () => api.time.now, monotonicMs: () => performance.now() };
  return createAuthenticator({ sql: database.sql, clock, hmacKey });
}

test("a key without an actor, or with two, cannot exist (F19)", async () => {
  const { id } = await createKey();
  for (const [employeeId, agentId] of [
    [null, null],
    [acme.adaId, acme.agentId],
  ] as const) {
    const written = database.sql`
      update api_keys set employee_id = ${employeeId}, agent_id = ${agentId} where id = ${id}
    `;
    const error: unknown = await written.then(
      () => null,
      (thrown: unknown) => thrown,
    );
    expect(error).toMatchObject({ constraint_name: "api_keys_one_actor" });
  }
});

describe("reading a key", () => {
  test("answers its version as ETag, its environment, nothing of its secret (F29)", async () => {
    const key = await createKey({ environment: "staging" });
    const { status, headers, body } = await read(key.id);
    expect(status).toBe(200);
    expect(headers.get("etag")).toBe('"1"');
    expect(body).toMatchObject({ version: 1, environment: "staging", isActive: true });
    expect(body).toMatchObject({ lastUsedAt: null, spentUsd: "0", rotatedAt: null });
    expect(JSON.stringify(body)).not.toContain(key.token.split("_")[3] ?? "");
    expect(body).not.toHaveProperty("token");
  });

  test("tells what it has spent so far, over all days", async () => {
    const { id } = await createKey();
    const { organizationId, adaId } = acme;
    const { now } = api.time;
    await bookCall(database.sql, { organizationId, apiKeyId: id, actorId: adaId, at: now });
    for (const day of [1, 40]) {
      await database.sql`
        insert into usage_daily (
          organization_id, usage_on, team_id, project_id, api_key_id, provider, model,
          usage_source, calls, input_tokens, output_tokens, cost_nano_usd
        )
        values (
          ${organizationId}, ${now}::timestamptz::date - ${day}::integer, '', '', ${id}, 'openai',
          'gpt-4o', 'provider', 1, 10, 10, 1
        )
      `;
    }
    expect((await read(id)).body).toMatchObject({ spentUsd: "0.001230002" });
  });

  test("tells when it was last used, written once for however many uses", async () => {
    const key = await createKey();
    const node = authenticator();
    for (let use = 0; use < 50; use++) {
      await node.authenticate(key.token);
    }
    expect((await read(key.id)).body).toMatchObject({ lastUsedAt: null, version: 1 });
    await node.uses.write(database.sql);
    const usedAt = api.time.now.toISOString();
    expect((await read(key.id)).body).toMatchObject({ lastUsedAt: usedAt, version: 1 });
    // A node that was slow to write an earlier use changes nothing.
    node.uses.note(acme.organizationId, key.id, new Date(api.time.now.getTime() - 60_000));
    await node.uses.write(database.sql);
    expect((await read(key.id)).body).toMatchObject({ lastUsedAt: usedAt });
  });
});

test("a last use that could not be written is written later", async () => {
  const key = await createKey();
  const node = authenticator();
  await node.authenticate(key.token);
  const gone = connect(database.url, { connectionsMax: 1, applicationName: "gone" });
  await gone.end();
  const write = async (sql: Sql) =>
    await node.uses.write(sql).then(
      () => true,
      () => false,
    );
  expect(await write(gone)).toBe(false);
  expect((await read(key.id)).body).toMatchObject({ lastUsedAt: null });
  expect(await write(database.sql)).toBe(true);
  expect((await read(key.id)).body).toMatchObject({ lastUsedAt: api.time.now.toISOString() });
});

describe("changing a key", () => {
  test("changes what is named and leaves the rest, with one audit row (F36)", async () => {
    const key = await createKey({ reservationMaxUsd: "2" });
    const change = { name: "Renamed", allowedModels: ["gpt-4o"], reservationMaxUsd: null };
    const answer = await send(key, "", { ...change, projectId: acme.projectId, isActive: false });
    expect(answer).toMatchObject({
      status: 200,
      body: { ...change, projectId: acme.projectId, version: 2, status: "inactive" },
    });
    expect(answer.body).toMatchObject({ environment: "production" });
    const [, row, ...more] = await auditOf(key.id);
    expect(more).toEqual([]);
    expect(row).toMatchObject({
      action: "api_key.change",
      before: { name: "K", allowedModels: MODELS, reservationMaxUsd: "2", projectId: null },
      after: { name: "Renamed", allowedModels: ["gpt-4o"], reservationMaxUsd: null },
    });
    expect(JSON.stringify(row)).not.toContain("environment");
  });

  test("to what it is already changes nothing", async () => {
    const key = await createKey();
    expect(await send(key, "", { name: "K" })).toMatchObject({ status: 200, body: { version: 1 } });
    expect(await send(key, "", {})).toMatchObject({ status: 200, body: { version: 1 } });
    expect(await auditOf(key.id)).toHaveLength(1);
  });

  test("is refused without a version, and with one that is not the present one", async () => {
    const key = await createKey();
    const path = `/api-keys/${key.id}`;
    const blind = await api.call("PATCH", path, { token: admin, body: { name: "X" } });
    expect(blind).toMatchObject({ status: 428, body: { code: "precondition_required" } });
    expect((await send(key, "", { name: "X" })).status).toBe(200);
    for (const verb of ["", "rotate", "revoke"]) {
      const body =
        verb === "rotate" ? { overlapSeconds: 0 } : verb === "" ? { name: "Y" } : undefined;
      const stale = await send(key, verb, body);
      expect(stale).toMatchObject({ status: 409, body: { code: "version_stale" } });
      expect(stale.body).toMatchObject({ details: { version: 2 } });
    }
  });

  test("by ten people at once changes it once", async () => {
    const key = await createKey();
    const names = Array.from({ length: 10 }, (_, index) => `Name ${index}`);
    const answers = await Promise.all(names.map((name) => send(key, "", { name })));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(answers.filter(({ status }) => status === 409)).toHaveLength(9);
    expect(await auditOf(key.id)).toHaveLength(2);
  });

  const bad: readonly [string, object, string][] = [
    ["an unknown field", { colour: "red" }, "colour"],
    ["a field that cannot change", { actor: { kind: "employee", id: "x" } }, "actor"],
    ["an empty name", { name: " " }, "name"],
    ["a name of 10,000 characters", { name: "x".repeat(10_000) }, "name"],
    ["a control character", { name: "a\u0000b" }, "name"],
    ["no models", { allowedModels: [] }, "allowedModels"],
    ["a wrong type", { isActive: "yes" }, "isActive"],
    ["a negative amount", { reservationMaxUsd: "-1" }, "reservationMaxUsd"],
    ["an absurd amount", { reservationMaxUsd: "99999999999" }, "reservationMaxUsd"],
    ["an expiry in the past", { expiresAt: "2020-01-01T00:00:00Z" }, "expiresAt"],
    ["an expiry that is none", { expiresAt: "tomorrow" }, "expiresAt"],
    ["an environment that is none", { environment: "moon" }, "environment"],
  ];

  test.each(bad)("is refused for %s, naming the field", async (_, body, field) => {
    const key = await createKey();
    const answer = await send(key, "", body);
    expect(answer).toMatchObject({ status: 400, body: { errors: [{ field }] } });
    expect(await auditOf(key.id)).toHaveLength(1);
  });

  test("to a project of another organization is refused like one that is not there", async () => {
    const key = await createKey();
    const refusalOf = async (projectId: string) => {
      const { status, body } = await send(key, "", { projectId });
      return { status, ...(body as object), request_id: "" };
    };
    const absent = await refusalOf("prj_01KAJ3M2YV8Q4T6W9ZB5C7D1E2");
    expect(absent).toMatchObject({ status: 400, errors: [{ field: "projectId" }] });
    expect(await refusalOf(globex.projectId)).toEqual(absent);
  });
});

describe("rotating a key", () => {
  test("shows a new token once, keeps the id, and leaves an audit row without it", async () => {
    const key = await createKey();
    const answer = await send(key, "rotate", { overlapSeconds: DAY_SECONDS });
    const rotated = answer.body as Key;
    expect(answer).toMatchObject({ status: 200, body: { id: key.id, version: 2 } });
    expect(rotated.token).toStartWith(key.token.slice(0, "spk_live_".length + 26));
    expect(rotated.token).not.toBe(key.token);
    const dump = JSON.stringify([await auditOf(key.id), (await read(key.id)).body, api.lines]);
    expect(dump).not.toContain(rotated.token.slice("spk_live_".length + 27));
    expect(dump).toContain("api_key.rotate");
  });

  test("lets both tokens in until the overlap ends, and then only the new one", async () => {
    const key = await createKey();
    const { token } = (await send(key, "rotate", { overlapSeconds: 60 })).body as Key;
    const started = api.time.now;
    const node = authenticator();
    try {
      for (const good of [key.token, token]) {
        expect((await node.authenticate(good)).apiKey.id).toBe(key.id);
      }
      api.time.now = new Date(started.getTime() + 59_999);
      expect((await node.authenticate(key.token)).apiKey.id).toBe(key.id);
      api.time.now = new Date(started.getTime() + 60_000);
      expect((await node.authenticate(token)).apiKey.id).toBe(key.id);
      expect(await refusalOf(node.authenticate(key.token))).toBe("invalid_api_key");
    } finally {
      api.time.now = started;
    }
  });

  test("without an overlap ends the old token at once, also where it is remembered", async () => {
    const key = await createKey();
    const node = authenticator();
    await node.authenticate(key.token);
    const { token } = (await send(key, "rotate", { overlapSeconds: 0 })).body as Key;
    // The node has not been told: it finds out because the new secret does not fit its memory.
    expect((await node.authenticate(token)).apiKey.id).toBe(key.id);
    expect(await refusalOf(node.authenticate(key.token))).toBe("invalid_api_key");
  });

  test("is refused while another overlap runs, unless it ends both", async () => {
    const key = await createKey();
    await send(key, "rotate", { overlapSeconds: DAY_SECONDS });
    const second = { id: key.id, version: 2 };
    const refused = await send(second, "rotate", { overlapSeconds: 60 });
    expect(refused).toMatchObject({
      status: 409,
      body: { code: "rotation_overlaps", errors: [{ field: "overlapSeconds" }] },
    });
    const ended = await send(second, "rotate", { overlapSeconds: 0 });
    expect(ended.status).toBe(200);
    const node = authenticator();
    expect(await refusalOf(node.authenticate(key.token))).toBe("invalid_api_key");
    expect((await node.authenticate((ended.body as Key).token)).apiKey.id).toBe(key.id);
    expect((await send({ id: key.id, version: 3 }, "rotate", { overlapSeconds: 60 })).status).toBe(
      200,
    );
  });

  test.each([-1, 7 * DAY_SECONDS + 1, 1.5, "60", null])(
    "refuses an overlap of %p",
    async (value) => {
      const key = await createKey();
      const answer = await send(key, "rotate", { overlapSeconds: value });
      expect(answer).toMatchObject({
        status: 400,
        body: { errors: [{ field: "overlapSeconds" }] },
      });
    },
  );
});

describe("a revoked key", () => {
  test("cannot be changed, rotated or brought back (R171)", async () => {
    const key = await createKey();
    expect(await send(key, "revoke")).toMatchObject({ status: 200, body: { status: "revoked" } });
    const revoked = { id: key.id, version: 2 };
    for (const [verb, body] of [
      ["", { isActive: true }],
      ["", { expiresAt: null }],
      ["rotate", { overlapSeconds: 0 }],
    ] as const) {
      const answer = await send(revoked, verb, body);
      expect(answer).toMatchObject({ status: 409, body: { code: "archived" } });
    }
    expect(await send(revoked, "revoke")).toMatchObject({ body: { version: 2 } });
    expect((await auditOf(key.id)).map(({ action }) => action)).toEqual([
      "api_key.create",
      "api_key.revoke",
    ]);
  });

  test("is refused with a cutRunning that is neither true nor false", async () => {
    const key = await createKey();
    const answer = await send(key, "revoke?cutRunning=maybe");
    expect(answer).toMatchObject({ status: 400, body: { errors: [{ field: "cutRunning" }] } });
  });
});

describe("who sees only some keys", () => {
  const all = [
    ["", { name: "X" }],
    ["rotate", { overlapSeconds: 0 }],
    ["revoke", undefined],
  ] as const;

  test("changes, rotates and revokes own keys (F34)", async () => {
    const key = await createKey();
    let version = 1;
    for (const [verb, body] of all) {
      expect((await send({ id: key.id, version: version++ }, verb, body, ada)).status).toBe(200);
    }
  });

  test("is told of others' keys what it is told of no keys at all", async () => {
    const refusalsOf = async (id: string) => {
      const answers = [await read(id, ada)];
      for (const [verb, body] of all) {
        answers.push(await send({ id, version: 1 }, verb, body, ada));
      }
      return answers.map(({ status, body }) => ({ status, ...(body as object), request_id: "" }));
    };
    const nothing = await refusalsOf("key_01KAJ3M2YV8Q4T6W9ZB5C7D1E2");
    expect(nothing.map(({ status }) => status)).toEqual([404, 404, 404, 404]);
    expect(await refusalsOf(acme.bobKeyId)).toEqual(nothing);
    expect(await refusalsOf(globex.adaKeyId)).toEqual(nothing);
  });

  test("of another organization meets the same, also as its administrator", async () => {
    for (const [verb, body] of all) {
      const answer = await send({ id: globex.adaKeyId, version: 1 }, verb, body);
      expect(answer).toMatchObject({ status: 404, body: { code: "not_found" } });
    }
  });
});

describe("a manager", () => {
  test("manages keys in the assigned areas, and no others (F35)", async () => {
    const { organizationId, teamId, adaId, bobId, bobKeyId } = acme;
    const { now } = api.time;
    const member = await addMember(database.sql, { organizationId, role: "manager", now });
    const { token, membershipId } = member;
    const key = await createKey();
    expect((await read(key.id, token)).status).toBe(404);
    await database.sql`
      insert into membership_areas (organization_id, membership_id, team_id)
      values (${organizationId}, ${membershipId}, ${teamId})
    `;
    expect((await read(key.id, token)).status).toBe(200);
    expect((await send(key, "", { name: "Managed" }, token)).status).toBe(200);
    const made = (id: string) => {
      const actor = { kind: "employee", id };
      const body = { name: "K", actor, environment: "staging", allowedModels: MODELS };
      return api.call("POST", "/api-keys", { token, body });
    };
    expect((await made(adaId)).status).toBe(201);
    expect(await made(bobId)).toMatchObject({ status: 403, body: { code: "capability_missing" } });
    expect((await read(bobKeyId, token)).status).toBe(404);
    const second = { id: key.id, version: 2 };
    expect((await send(second, "revoke", undefined, token)).status).toBe(200);
  });
});
