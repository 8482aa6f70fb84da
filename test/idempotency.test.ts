/** A call that is sent twice with one Idempotency-Key is paid once. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type GatedProvider, gateProvider } from "./gated-provider.ts";
import { foundCompany, startNode, type TestNode } from "./node.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";
import { waitUntil } from "./wait-until.ts";

let database: TestDatabase;
let provider: GatedProvider;
let nodes: TestNode[];
let token: string;
let secondToken: string;

beforeAll(async () => {
  database = await testDatabase();
  provider = gateProvider();
  ({ token } = await foundCompany(database.sql, provider.baseUrl));
  ({ token: secondToken } = await foundCompany(database.sql, provider.baseUrl, {
    adminEmail: "second@acme.example",
  }));
  nodes = await Promise.all([startNode(database.url), startNode(database.url)]);
});

afterAll(async () => {
  await Promise.all(nodes.map((node) => node.stop()));
  await provider.stop();
  await database.drop();
});

describe("an idempotency key", () => {
  test("that is empty or endless is refused", async () => {
    for (const key of ["", "k".repeat(256)]) {
      const { status, error } = await post(0, key);
      expect(status).toBe(400);
      expect(error).toMatchObject({ code: "invalid_request", param: "idempotency-key" });
    }
  });

  test("sent 20 times at once over two nodes reaches the provider once", async () => {
    const before = provider.count();
    let refused = 0;
    const answers = Array.from({ length: 20 }, async (_, index) => {
      const answer = await post(index % 2, "burst");
      refused += answer.status === 409 ? 1 : 0;
      if (refused === 19) {
        provider.open();
      }
      return answer;
    });
    const answered = await Promise.all(answers);
    expect(answered.filter(({ status }) => status === 200).length).toBe(1);
    const codes = new Set(answered.flatMap(({ error }) => error?.["code"] ?? []));
    expect([...codes]).toEqual(["idempotency_in_progress"]);
    expect(provider.count()).toBe(before + 1);
  });

  test("of a paid call answers what was paid, and does not look retryable", async () => {
    const first = await post(0, "paid");
    expect(first.status).toBe(200);
    const second = await post(1, "paid");
    expect(second.status).toBe(409);
    expect(second.headers.get("x-should-retry")).toBe("false");
    expect(second.error).toMatchObject({
      code: "idempotency_replay_unavailable",
      details: {
        original_request_id: first.headers.get("x-request-id"),
        reservation_id: first.headers.get("x-spendra-reservation-id"),
        status: "settled",
        cost_usd: first.headers.get("x-spendra-cost-usd"),
      },
    });
  });

  test("with another body is refused", async () => {
    await post(0, "mismatch");
    const { status, error } = await post(0, "mismatch", { content: "something else" });
    expect(status).toBe(422);
    expect(error).toMatchObject({ code: "idempotency_mismatch" });
  });

  test("of a call that was refused is free again", async () => {
    await database.sql`update api_keys set reservation_max_nano_usd = 1`;
    expect((await post(0, "refused")).status).toBe(403);
    await database.sql`update api_keys set reservation_max_nano_usd = null`;
    expect((await post(0, "refused")).status).toBe(200);
  });

  test("of a call that the provider failed is free again", async () => {
    await database.sql`update provider_accounts set base_url = 'http://127.0.0.1:9/v1'`;
    expect((await post(0, "failed")).status).toBe(502);
    await database.sql`update provider_accounts set base_url = ${provider.baseUrl}`;
    expect((await post(0, "failed")).status).toBe(200);
  });

  test("of one organization says nothing to another", async () => {
    expect((await post(0, "shared")).status).toBe(200);
    expect((await post(0, "shared", { token: secondToken })).status).toBe(200);
  });

  test("leaves nothing held", async () => {
    await waitUntil("nothing is held", async () => {
      const held = await database.sql`select from reservations where status = 'held'`;
      return held.length === 0;
    });
  });
});

async function post(node: number, key: string, options: { content?: string; token?: string } = {}) {
  const response = await fetch(`${nodes[node]?.url}/v1/chat/completions`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${options.token ?? token}`,
      "content-type": "application/json",
      "idempotency-key": key,
    },
    body: JSON.stringify({
      model: "gpt-4o-mini",
      messages: [{ role: "user", content: options.content ?? "once, please" }],
    }),
  });
  const body = (await response.json()) as { error?: Record<string, unknown> };
  return { status: response.status, headers: response.headers, error: body.error };
}
