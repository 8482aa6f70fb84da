/** PostgreSQL goes away and comes back: new calls are refused at once, running ones wait for it. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { GATED_USAGE, type GatedProvider, gateProvider } from "./gated-provider.ts";
import { foundCompany, METRICS_TOKEN, startNode, type TestNode } from "./node.ts";
import { postChat, readBooks } from "./node-calls.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";
import { openTcpProxy, type TcpProxy } from "./tcp-proxy.ts";
import { waitUntil } from "./wait-until.ts";

const REFUSAL_MAX_MS = 1_500;
const RECOVERY_MAX_MS = 10_000;
/** 10 and 5 tokens of gpt-4o-mini, as the gated provider reports them. */
const COST_NANO_USD = 10n * 150n + 5n * 600n;

let database: TestDatabase;
let proxy: TcpProxy;
let provider: GatedProvider;
let node: TestNode;
let token: string;

beforeEach(async () => {
  database = await testDatabase();
  proxy = await openTcpProxy(database.url);
  provider = gateProvider();
  ({ token } = await foundCompany(database.sql, provider.baseUrl));
  node = await startNode(proxy.url, { environment: { SPENDRA_DRAIN_SECONDS: "5" } });
});

afterEach(async () => {
  provider.open();
  await proxy.restore();
  // A database that came back must not keep the node from ending well.
  expect(await node.stop()).toBe(0);
  await proxy.stop();
  await provider.stop();
  await database.drop();
});

describe.each(["cut", "stall"] as const)("with the way to PostgreSQL %s", (fault) => {
  test("a call with a key never seen before is refused in time, as 503", async () => {
    await breakIt();
    for (let call = 0; call < 3; call++) {
      await expectRefusedInTime(token);
    }
    await expectRefusedInTime(token.replace(/.$/, (last) => (last === "A" ? "B" : "A")));
  });

  test("a call with a known key is refused in time, as 503, and the node recovers", async () => {
    provider.open();
    expect((await postChat(node, token)).status).toBe(200);
    await breakIt();
    for (let call = 0; call < 3; call++) {
      await expectRefusedInTime(token);
    }
    const refusals = Array.from({ length: 50 }, () => expectRefusedInTime(token));
    await Promise.all(refusals);
    const reached = provider.count();
    await proxy.restore();
    await waitUntil(
      "calls go through again",
      async () => (await postChat(node, token)).status === 200,
      RECOVERY_MAX_MS,
    );
    await waitUntil("nothing is held", async () => (await readBooks(database)).held === 0);
    const books = await readBooks(database);
    expect(reached).toBe(1);
    expect(books.entries).toBe(provider.count());
    expect(books.heldNanoUsd).toBe(0n);
    expect((await fetch(`${node.url}/ready`)).status).toBe(200);
  }, 40_000);

  test("running calls are delivered meanwhile, and each is booked exactly once", async () => {
    const answers = Array.from({ length: 20 }, () => postChat(node, token));
    await waitUntil("the provider is asked", () => provider.count() === answers.length);
    await breakIt();
    provider.open();
    for (const answer of answers) {
      const response = await answer;
      expect(response.status).toBe(200);
      expect(response.headers.get("x-spendra-cost-usd")).toBe("0.0000045");
      expect(await response.json()).toMatchObject({ usage: GATED_USAGE });
    }
    expect(await readBooks(database)).toMatchObject({ held: answers.length, entries: 0 });
    await expectRefusedInTime(token);
    await proxy.restore();
    await waitUntil("nothing is held", async () => (await readBooks(database)).held === 0);
    expect(await readBooks(database)).toMatchObject({
      entries: answers.length,
      events: answers.length,
      settled: answers.length,
      heldNanoUsd: 0n,
      settledNanoUsd: BigInt(answers.length) * COST_NANO_USD,
    });
  }, 40_000);

  test("metrics are answered all the same, without a number for what is not known", async () => {
    await breakIt();
    const startedMs = performance.now();
    const headers = { authorization: `Bearer ${METRICS_TOKEN}` };
    const metrics = await fetch(`${node.metricsUrl}/metrics`, { headers });
    expect(metrics.status).toBe(200);
    expect(await metrics.text()).toContain("spendra_outbox_waiting Nan");
    expect(performance.now() - startedMs).toBeLessThan(REFUSAL_MAX_MS);
  });

  async function breakIt(): Promise<void> {
    await (fault === "cut" ? proxy.cut() : proxy.stall());
  }
});

test("a booking whose confirmation got lost is not booked twice", async () => {
  const answer = postChat(node, token);
  await waitUntil("the provider is asked", () => provider.count() === 1);
  proxy.mute();
  provider.open();
  await waitUntil("it is booked", async () => (await readBooks(database)).entries === 1);
  await proxy.cut();
  await proxy.restore();
  const response = await answer;
  expect(response.status).toBe(200);
  expect(await readBooks(database)).toMatchObject({
    entries: 1,
    events: 1,
    held: 0,
    heldNanoUsd: 0n,
    settledNanoUsd: COST_NANO_USD,
  });
});

test("a hold whose confirmation got lost is let go, and the provider is never asked", async () => {
  provider.open();
  expect((await postChat(node, token)).status).toBe(200);
  proxy.mute();
  await expectRefusedInTime(token);
  await waitUntil("it is held", async () => (await readBooks(database)).held === 1);
  await proxy.cut();
  await proxy.restore();
  await waitUntil("it is released", async () => (await readBooks(database)).released === 1);
  expect(provider.count()).toBe(1);
  expect(await readBooks(database)).toMatchObject({ held: 0, heldNanoUsd: 0n, entries: 1 });
});

test("a node stops in time and with 0 while PostgreSQL hangs", async () => {
  provider.open();
  expect((await postChat(node, token)).status).toBe(200);
  proxy.stall();
  await expectRefusedInTime(token);
  const startedMs = performance.now();
  expect(await node.stop()).toBe(0);
  expect(performance.now() - startedMs).toBeLessThan(25_000);
}, 40_000);

test("a node outlives a database that goes away in the middle of a transaction", async () => {
  // The lock keeps the transaction that loads a key open until the connection breaks.
  await database.sql.begin(async (transaction) => {
    await transaction`lock table api_keys in access exclusive mode`;
    const answer = postChat(node, token);
    await waitUntil("the key is waited for", async () => {
      const rows = await database.sql`
        select from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'
      `;
      return rows.length > 0;
    });
    await proxy.cut();
    expect((await answer).status).toBe(503);
  });
  await proxy.restore();
  await expectServing();
});

test("a node outlives a database that comes and goes while it is busy", async () => {
  provider.open();
  for (let round = 0; round < 30; round++) {
    const busy = Array.from({ length: 10 }, async () => {
      await (await fetch(`${node.url}/ready`)).text();
      await (await postChat(node, token)).text();
    });
    await Promise.race(busy);
    await proxy.cut();
    await proxy.restore();
    await Promise.all(busy);
  }
  await expectServing();
  await waitUntil("nothing is held", async () => (await readBooks(database)).held === 0);
  const books = await readBooks(database);
  expect(books.heldNanoUsd).toBe(0n);
  expect(books.entries).toBe(provider.count());
}, 60_000);

async function expectServing(): Promise<void> {
  provider.open();
  await waitUntil(
    "calls go through",
    async () => (await postChat(node, token)).status === 200,
    RECOVERY_MAX_MS,
  );
  await waitUntil("it is ready", async () => (await fetch(`${node.url}/ready`)).status === 200);
}

async function expectRefusedInTime(presented: string): Promise<void> {
  const startedMs = performance.now();
  const response = await postChat(node, presented);
  const waitedMs = performance.now() - startedMs;
  const body: unknown = await response.json();
  expect(body).toMatchObject({
    error: { code: "reservation_unavailable", type: "service_unavailable" },
  });
  expect(response.status).toBe(503);
  expect(Number(response.headers.get("retry-after"))).toBeGreaterThan(0);
  expect(waitedMs).toBeLessThan(REFUSAL_MAX_MS);
}
