/** A hard cap is never passed, and a call that does not fit never reaches the provider. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import OpenAI from "openai";
import { formatUsd } from "../src/money.ts";
import { type GatedProvider, gateProvider } from "./gated-provider.ts";
import { foundCompany, startNode, type TestNode } from "./node.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";

const CALLS = 200;
const CALL: OpenAI.ChatCompletionCreateParamsNonStreaming = {
  model: "gpt-4o-mini",
  max_tokens: 1000,
  messages: [{ role: "user", content: "Is there room?" }],
};
const BODY = JSON.stringify(CALL);
/** One token a byte of the body at $0.15 a million, 1,000 tokens at $0.60 a million. */
const HELD_NANO_USD = BigInt(BODY.length) * 150n + 1_000n * 600n;

type Refusal = { error: { code: string; type: string; details: Record<string, unknown> } };

describe("a call that does not fit", () => {
  let database: TestDatabase;
  let provider: GatedProvider;
  let node: TestNode;
  let token: string;

  beforeAll(async () => {
    database = await testDatabase();
    provider = gateProvider();
    provider.open();
    const teamCapUsd = formatUsd(HELD_NANO_USD - 1n);
    ({ token } = await foundCompany(database.sql, provider.baseUrl, { teamCapUsd }));
    node = await startNode(database.url);
  });

  afterAll(async () => {
    await node.stop();
    await provider.stop();
    await database.drop();
  });

  test("is refused with 402 that names the budget, and costs nothing anywhere", async () => {
    const response = await post(node, token);
    expect(response.status).toBe(402);
    expect(response.headers.get("x-should-retry")).toBe("false");
    const { error } = (await response.json()) as Refusal;
    expect(error).toMatchObject({
      code: "budget_exceeded",
      type: "insufficient_quota",
      request_id: response.headers.get("x-request-id"),
      details: {
        budget: "Platform team",
        scope: "team",
        limit_usd: formatUsd(HELD_NANO_USD - 1n),
        settled_usd: "0",
        held_usd: "0",
        needed_usd: formatUsd(HELD_NANO_USD),
      },
    });
    expect(Date.parse(String(error.details["resets_at"]))).toBeGreaterThan(Date.now());
    expect(provider.count()).toBe(0);
    const [rows] = await database.sql`
      select
        (select count(*) from ledger_entries) as entries,
        (select count(*) from spend_events) as events,
        (select count(*) from reservations) as reservations,
        (select sum(held_nano_usd) + sum(settled_nano_usd) from budget_windows) as money,
        (select string_agg(policy_result || ' ' || status, ',') from gateway_requests) as requests
    `;
    expect(rows).toEqual({
      entries: 0n,
      events: 0n,
      reservations: 0n,
      money: "0",
      requests: "budget_exceeded 402",
    });
  });

  test("is not repeated by the official client", async () => {
    const client = new OpenAI({ baseURL: `${node.url}/v1`, apiKey: token, maxRetries: 3 });
    const before = await requestCount(database);
    const failure: unknown = await client.chat.completions.create(CALL).then(
      () => null,
      (error: unknown) => error,
    );
    expect(failure).toMatchObject({ status: 402, code: "budget_exceeded" });
    expect(await requestCount(database)).toBe(before + 1n);
  });

  test("fits to the nano-dollar once the cap is raised, without a restart", async () => {
    await database.sql`
      update budgets set amount_nano_usd = ${HELD_NANO_USD} where scope_kind = 'team'
    `;
    const response = await post(node, token);
    expect(response.status).toBe(200);
    expect(provider.count()).toBe(1);
  });
});

describe.each([
  [1, 0],
  [1, 1],
  [1, 77],
  [1, CALLS],
  [2, 77],
])("%d node(s) with room for %d calls of 200 at once", (nodeCount, room) => {
  let database: TestDatabase;
  let provider: GatedProvider;
  let nodes: TestNode[];
  let token: string;

  beforeAll(async () => {
    database = await testDatabase();
    provider = gateProvider();
    // Room for that many and almost one more.
    const teamCapUsd = formatUsd(HELD_NANO_USD * BigInt(room + 1) - 1n);
    ({ token } = await foundCompany(database.sql, provider.baseUrl, { teamCapUsd }));
    nodes = await Promise.all(Array.from({ length: nodeCount }, () => startNode(database.url)));
  });

  afterAll(async () => {
    await Promise.all(nodes.map((node) => node.stop()));
    await provider.stop();
    await database.drop();
  });

  test("lets exactly those through and settles them", async () => {
    let refusals = 0;
    const answers = Array.from({ length: CALLS }, async (_, index) => {
      const response = await post(nodes[index % nodeCount] as TestNode, token);
      if (response.status === 402) {
        refusals++;
        if (refusals === CALLS - room) {
          provider.open();
        }
      }
      await response.arrayBuffer();
      return response.status;
    });
    if (room === CALLS) {
      provider.open();
    }
    const statuses = await Promise.all(answers);
    expect(statuses.filter((status) => status === 200).length).toBe(room);
    expect(statuses.filter((status) => status === 402).length).toBe(CALLS - room);
    expect(provider.count()).toBe(room);
    const windows = await database.sql<{ held: bigint; settled: bigint }[]>`
      select held_nano_usd as held, settled_nano_usd as settled from budget_windows
    `;
    for (const window of windows) {
      // 10 and 5 tokens: 4,500 nano-dollars each.
      expect(window).toEqual({ held: 0n, settled: BigInt(room) * 4_500n });
    }
    const [entries] = await database.sql`select count(*) from ledger_entries`;
    expect(entries?.["count"]).toBe(BigInt(room));
  });
});

async function post(node: TestNode, token: string): Promise<Response> {
  return await fetch(`${node.url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: BODY,
  });
}

async function requestCount(database: TestDatabase): Promise<bigint> {
  const [row] = await database.sql<[{ count: bigint }]>`select count(*) from gateway_requests`;
  return row.count;
}
