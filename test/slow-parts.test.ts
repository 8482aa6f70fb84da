/** A slow database, provider or caller slows what waits for it, and nothing else (R166). */
import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { foundCompany, startNode, type TestNode } from "./node.ts";
import { postChat, readBooks } from "./node-calls.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";
import { type SlowProvider, serveSlowly } from "./slow-provider.ts";
import { openTcpProxy, type TcpProxy } from "./tcp-proxy.ts";
import { waitUntil } from "./wait-until.ts";

const CALLS = 200;
const CHUNKS = 4;
/** A quarter of a second a call, whatever else happens. */
const INTERVAL_MS = 60;

let database: TestDatabase;
let proxy: TcpProxy;
let provider: SlowProvider;
let node: TestNode;
let token: string;

beforeAll(async () => {
  database = await testDatabase();
  proxy = await openTcpProxy(database.url);
  provider = serveSlowly({ chunks: CHUNKS, intervalMs: INTERVAL_MS });
  ({ token } = await foundCompany(database.sql, provider.baseUrl));
  node = await startNode(proxy.url);
});

beforeEach(() => {
  proxy.delay(0);
});

afterAll(async () => {
  await node.stop();
  await provider.stop();
  await proxy.stop();
  await database.drop();
});

test("a database 50 ms away answers all calls, and books them", async () => {
  const before = await readBooks(database);
  proxy.delay(50);
  const startedMs = performance.now();
  const statuses = await callMany();
  expect(statuses).toEqual(Array.from({ length: CALLS }, () => 200));
  expect(performance.now() - startedMs).toBeLessThan(10_000);
  const after = await readBooks(database);
  expect(after.entries - before.entries).toBe(CALLS);
  expect(after.heldNanoUsd).toBe(0n);
}, 60_000);

test("a database that is too slow to decide refuses at once, and is forgiven at once", async () => {
  const before = await readBooks(database);
  proxy.delay(1_500);
  const startedMs = performance.now();
  const refusals = await Promise.all(
    Array.from({ length: CALLS }, async () => {
      const response = await postChat(node, token, { stream: true });
      await response.arrayBuffer();
      return { status: response.status, ms: performance.now() - startedMs };
    }),
  );
  expect(new Set(refusals.map(({ status }) => status))).toEqual(new Set([503]));
  // 900 ms for the decision, and what 200 refusals cost on a busy machine.
  expect(Math.max(...refusals.map(({ ms }) => ms))).toBeLessThan(4_000);
  proxy.delay(0);
  const mendedMs = performance.now();
  await waitUntil("a call is answered again", async () => {
    const response = await postChat(node, token, { stream: true });
    await response.arrayBuffer();
    return response.status === 200;
  });
  expect(performance.now() - mendedMs).toBeLessThan(10_000);
  await waitUntil("what was granted too late is released", async () => {
    const books = await readBooks(database);
    return books.held === 0 && books.heldNanoUsd === 0n;
  });
  const after = await readBooks(database);
  expect(after.entries - before.entries).toBe(1);
}, 60_000);

test("callers who do not read hold up nobody else", async () => {
  const sleepers = await Promise.all(
    Array.from({ length: 50 }, () => postChat(node, token, { stream: true })),
  );
  const startedMs = performance.now();
  const response = await postChat(node, token, { stream: true });
  await response.arrayBuffer();
  expect(response.status).toBe(200);
  expect(performance.now() - startedMs).toBeLessThan(CHUNKS * INTERVAL_MS + 2_000);
  await Promise.all(sleepers.map((sleeper) => sleeper.arrayBuffer()));
  await waitUntil("all is settled", async () => (await readBooks(database)).held === 0);
}, 60_000);

async function callMany(): Promise<number[]> {
  return await Promise.all(
    Array.from({ length: CALLS }, async () => {
      const response = await postChat(node, token, { stream: true });
      await response.arrayBuffer();
      return response.status;
    }),
  );
}
