/**
 * What is refused before the provider is called: each with its own code, in the OpenAI shape,
 * without traffic, without a ledger entry, and on record with its reason.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import type { DemoCompany } from "../src/cli/demo-company.ts";
import { type GatedProvider, gateProvider } from "./gated-provider.ts";
import { foundCompany, startNode, type TestNode } from "./node.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";

let database: TestDatabase;
let provider: GatedProvider;
let company: DemoCompany;
let node: TestNode;

beforeAll(async () => {
  database = await testDatabase();
  provider = gateProvider();
  provider.open();
  company = await foundCompany(database.sql, provider.baseUrl);
  node = await startNode(database.url);
});

afterAll(async () => {
  await node.stop();
  await provider.stop();
  await database.drop();
});

const good = { model: "gpt-4o-mini", messages: [{ role: "user", content: "hello" }] };

describe("a body", () => {
  const bodies: [string, string | Uint8Array<ArrayBuffer>, number, string, string | null][] = [
    ["that is empty", "", 400, "invalid_request", null],
    ["that is not JSON", "{model:", 400, "invalid_request", null],
    ["that is a list", "[]", 400, "invalid_request", null],
    ["that is null", "null", 400, "invalid_request", null],
    ["in broken UTF-8", new Uint8Array([123, 34, 0xff, 34, 125]), 400, "invalid_request", null],
    ["without a model", body({ model: undefined }), 400, "invalid_request", "model"],
    ["with a number as model", body({ model: 4 }), 400, "invalid_request", "model"],
    ["without messages", body({ messages: [] }), 400, "invalid_request", "messages"],
    ["with text as messages", body({ messages: "hi" }), 400, "invalid_request", "messages"],
    ["with stream as text", body({ stream: "true" }), 400, "invalid_request", "stream"],
    ["with negative max_tokens", body({ max_tokens: -1 }), 400, "invalid_request", "max_tokens"],
    ["with half a token", body({ max_tokens: 0.5 }), 400, "invalid_request", "max_tokens"],
    ["with n of a million", body({ n: 1e6 }), 400, "invalid_request", "n"],
    [
      "that names max_tokens twice",
      `{"max_tokens":1,${body({}).slice(1, -1)},"max_tokens":100000}`,
      400,
      "invalid_request",
      "max_tokens",
    ],
    [
      "that names max_tokens twice in disguise",
      `{"max_tokens":1,${body({}).slice(1, -1)},"max\\u005ftokens":100000}`,
      400,
      "invalid_request",
      "max_tokens",
    ],
    ["with an unknown model", body({ model: "gpt-nope" }), 400, "model_not_priced", "model"],
    ["with a sibling's name", body({ model: "gpt-4o-minix" }), 400, "model_not_priced", "model"],
    [
      "with a dearer service tier",
      body({ service_tier: "priority" }),
      400,
      "model_not_priced",
      "service_tier",
    ],
    ["of 50 MB", "x".repeat(50 * 1024 * 1024), 413, "request_too_large", null],
  ];

  test.each(bodies)("%s is refused", async (_, text, status, code, param) => {
    const { response, error } = await post(text);
    expect(response.status).toBe(status);
    expect(error).toMatchObject({ code, param });
    await expectOnRecord(error.request_id, code, status);
  });

  test("of 50 MB sent in chunks is refused as well", async () => {
    const chunk = new Uint8Array(1024 * 1024).fill(120);
    let left = 50;
    const stream = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        if (left-- === 0) {
          controller.close();
        } else {
          controller.enqueue(chunk);
        }
      },
    });
    const { response, error } = await post(stream);
    expect(response.status).toBe(413);
    expect(error.code).toBe("request_too_large");
  });

  test("is never quoted in the answer", async () => {
    const { response, error } = await post('{"messages":"canary-prompt-text');
    expect(response.status).toBe(400);
    expect(JSON.stringify(error)).not.toContain("canary");
  });
});

describe("a key", () => {
  const ulid = "01KAJ3Q8V5T2N7M4R6W9X1Y0ZC";
  const strangers: [string, Record<string, string>][] = [
    ["that is missing", {}],
    ["that is no key", { authorization: "Bearer hello" }],
    ["in the wrong scheme", { authorization: "Basic c3BrOmhpCg==" }],
    ["that is empty", { authorization: "Bearer " }],
    ["that does not exist", { authorization: `Bearer spk_live_${ulid}_${"a".repeat(43)}` }],
    ["that is a thousand times too long", { authorization: `Bearer spk_${"x".repeat(15_000)}` }],
  ];

  test.each(strangers)("%s is unknown", async (_, headers) => {
    const { response, error } = await post(body({}), headers);
    expect(response.status).toBe(401);
    expect(error).toMatchObject({ code: "invalid_api_key", type: "authentication_error" });
  });

  test("with another secret is unknown", async () => {
    const wrong = `${company.token.slice(0, -1)}${company.token.endsWith("A") ? "B" : "A"}`;
    const { response } = await post(body({}), { authorization: `Bearer ${wrong}` });
    expect(response.status).toBe(401);
  });

  const changes: [string, string, number, string][] = [
    ["revoked", "revoked_at = now()", 401, "key_revoked"],
    ["expired", "expires_at = now() - interval '1 second'", 401, "key_expired"],
    ["switched off", "is_active = false", 401, "key_inactive"],
    ["for other models", "allowed_models = '{gpt-4o}'", 403, "model_not_allowed"],
    [
      "for OpenRouter's model",
      "allowed_models = '{openrouter/gpt-4o-mini}'",
      403,
      "model_not_allowed",
    ],
    ["for no model", "allowed_models = '{}'", 403, "model_not_allowed"],
    ["for another provider", "allowed_providers = '{anthropic}'", 403, "provider_not_allowed"],
    ["for small requests", "reservation_max_nano_usd = 1000", 403, "per_request_limit_exceeded"],
  ];

  afterEach(async () => {
    await database.sql`
      update api_keys
      set
        revoked_at = null, expires_at = null, is_active = true, allowed_models = '{*}',
        allowed_providers = '{}', reservation_max_nano_usd = null
    `;
  });

  test.each(changes)("%s is refused from the next request on", async (_, change, status, code) => {
    expect((await post(body({}))).response.status).toBe(200);
    await expectNothingHeld();
    await database.sql.unsafe(`update api_keys set ${change}`);
    const { response, error } = await post(body({}));
    expect(response.status).toBe(status);
    expect(error.code).toBe(code);
    await expectOnRecord(error.request_id, code, status);
  });

  test("is not brought back by the cache of a node that has not heard of the change", async () => {
    expect((await post(body({}))).response.status).toBe(200);
    await database.sql.begin(async (transaction) => {
      await transaction`update api_keys set revoked_at = now()`;
      // Nobody is told before the commit: what is sent now still counts as before it.
    });
    const answers = await Promise.all(Array.from({ length: 20 }, () => post(body({}))));
    expect(answers.every(({ response }) => response.status === 401)).toBe(true);
  });
});

describe("a policy", () => {
  test("is needed: without a hard cap nothing is spent", async () => {
    await database.sql`update policies set archived_at = now()`;
    const { response, error } = await post(body({}));
    await database.sql`update policies set archived_at = null`;
    expect(response.status).toBe(403);
    expect(error.code).toBe("no_hard_cap_policy");
    await expectOnRecord(error.request_id, "no_hard_cap_policy", 403);
  });
});

describe("a route", () => {
  test("that does not exist is 404, and another method 405", async () => {
    const headers = { authorization: `Bearer ${company.token}` };
    const missing = await fetch(`${node.url}/v1/nothing`, { headers });
    expect(missing.status).toBe(404);
    expect(await missing.json()).toMatchObject({ error: { code: "unknown_route" } });
    const wrongMethod = await fetch(`${node.url}/v1/chat/completions`, { headers });
    expect(wrongMethod.status).toBe(405);
    expect(wrongMethod.headers.get("allow")).toBe("POST");
    expect(await wrongMethod.json()).toMatchObject({ error: { code: "method_not_allowed" } });
  });
});

function body(fields: object): string {
  return JSON.stringify({ ...good, ...fields });
}

type ErrorBody = {
  code: string;
  type: string;
  message: string;
  param: string | null;
  request_id: string;
};

async function post(
  content: BodyInit,
  headers: Record<string, string> = { authorization: `Bearer ${company.token}` },
): Promise<{ response: Response; error: ErrorBody }> {
  const before = provider.count();
  const response = await fetch(`${node.url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: content,
  });
  const answer = (await response.json()) as { error: ErrorBody };
  if (!response.ok) {
    expect(provider.count()).toBe(before);
    expect(answer.error.request_id).toBe(response.headers.get("x-request-id") ?? "");
    expect(answer.error.message.length).toBeGreaterThan(10);
  }
  return { response, error: answer.error };
}

/** The refused request is listed with its reason, and nothing was held or booked for it. */
async function expectOnRecord(requestId: string, code: string, status: number): Promise<void> {
  const rows = await database.sql`
    select policy_result, status from gateway_requests where id = ${requestId}
  `;
  expect([...rows]).toEqual([{ policy_result: code, status }]);
  const [money] = await database.sql<[{ entries: bigint; reservations: bigint }]>`
    select
      (select count(*) from ledger_entries where request_id = ${requestId}) as entries,
      (select count(*) from reservations where request_id = ${requestId}) as reservations
  `;
  expect(money).toEqual({ entries: 0n, reservations: 0n });
}

/** What was granted before has been settled. */
async function expectNothingHeld(): Promise<void> {
  const held = await database.sql`select from reservations where status = 'held'`;
  expect(held.length).toBe(0);
}
