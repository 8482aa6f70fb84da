/** How a node ends: on SIGTERM nothing that runs is lost; on a hard end the sweeper books it. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { foundCompany, startNode, type TestNode } from "./node.ts";
import { postChat, readBooks } from "./node-calls.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";
import { type SlowProvider, serveSlowly, slowText, textOf } from "./slow-provider.ts";
import { waitUntil } from "./wait-until.ts";

const STREAMS = 200;
const CHUNKS = 60;
const INTERVAL_MS = 35;
/** 20 and 30 tokens of gpt-4o-mini, at $0.15 and $0.60 a million. */
const COST_NANO_USD = 20n * 150n + 30n * 600n;
/** After the drain's own limit: cutting connections, the last write, closing the pools. */
const END_MAX_MS = 8_000;
const SWEEP_MAX_MS = 25_000;

let database: TestDatabase;
let provider: SlowProvider;
let nodes: TestNode[];

beforeEach(async () => {
  database = await testDatabase();
  nodes = [];
});

afterEach(async () => {
  for (const node of nodes) {
    node.process.kill("SIGKILL");
    await node.process.exited;
  }
  await provider.stop();
  await database.drop();
});

test("200 streams end well after SIGTERM and are settled, and new calls are refused", async () => {
  const { node, token } = await startWith({ chunks: CHUNKS });
  const streams = Array.from({ length: STREAMS }, () => readStream(node, token));
  await waitUntil("all streams run", () => provider.startedCount() === STREAMS);
  const exited = node.process.exited;
  node.process.kill("SIGTERM");
  await node.logged("node.draining");

  const ready = await fetch(`${node.url}/ready`);
  expect(ready.status).toBe(503);
  expect(await ready.json()).toMatchObject({
    status: "not_ready",
    checks: { database: { status: "ok" }, accepting: { status: "fail" } },
  });
  expect((await fetch(`${node.url}/health`)).status).toBe(200);
  await expectShuttingDown(await postChat(node, token));
  expect(provider.startedCount()).toBe(STREAMS);

  for (const stream of await Promise.all(streams)) {
    expect(stream.endsWith("data: [DONE]\n\n")).toBe(true);
    expect(textOf(stream)).toBe(slowText(CHUNKS));
  }
  expect(await exited).toBe(0);
  const total = BigInt(STREAMS) * COST_NANO_USD;
  expect(await readBooks(database)).toEqual({
    entries: STREAMS,
    events: STREAMS,
    held: 0,
    settled: STREAMS,
    released: 0,
    expired: 0,
    heldNanoUsd: 0n,
    settledNanoUsd: total,
    bookedNanoUsd: total,
  });
  const estimated = await database.sql`select from spend_events where usage_source <> 'provider'`;
  expect(estimated.length).toBe(0);
  expect(node.lines.at(-1)).toContain('"event":"node.stopped"');
}, 60_000);

test("a node without calls ends at once, also on SIGINT", async () => {
  const { node } = await startWith({ chunks: 1 });
  const startedMs = performance.now();
  node.process.kill("SIGINT");
  expect(await node.process.exited).toBe(0);
  expect(performance.now() - startedMs).toBeLessThan(2_000);
});

test("a stream whose caller has gone is read to its usage and settled before the end", async () => {
  const { node, token } = await startWith({ chunks: CHUNKS });
  const caller = new AbortController();
  const response = await fetch(`${node.url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}` },
    body: JSON.stringify({
      model: "gpt-4o-mini",
      stream: true,
      messages: [{ role: "user", content: "hello" }],
    }),
    signal: caller.signal,
  });
  await response.body?.getReader().read();
  caller.abort();
  expect(await node.stop()).toBe(0);
  expect(await readBooks(database)).toMatchObject({
    entries: 1,
    held: 0,
    settledNanoUsd: COST_NANO_USD,
  });
});

test("a second SIGTERM ends the node at once", async () => {
  const { node, token } = await startWith({ chunks: Infinity });
  const stream = readStream(node, token);
  await waitUntil("the stream runs", () => provider.startedCount() === 1);
  node.process.kill("SIGTERM");
  await node.logged("node.draining");
  const startedMs = performance.now();
  node.process.kill("SIGTERM");
  expect(await node.process.exited).toBe(1);
  expect(performance.now() - startedMs).toBeLessThan(1_000);
  await stream;
  expect(await readBooks(database)).toMatchObject({ held: 1, entries: 0 });
});

test("an endless stream is cut at the drain limit, and nothing of it is forgotten", async () => {
  const { node, token } = await startWith({ chunks: Infinity, drainSeconds: 1 });
  const stream = readStream(node, token);
  await waitUntil("the stream runs", () => provider.startedCount() === 1);
  const startedMs = performance.now();
  node.process.kill("SIGTERM");
  expect(await node.process.exited).toBe(0);
  expect(performance.now() - startedMs).toBeLessThan(1_000 + END_MAX_MS);
  expect(await stream).not.toContain("[DONE]");
  const books = await readBooks(database);
  // Either booked by estimate before the end, or still held for the sweeper.
  expect(books.held + books.entries).toBe(1);
});

test("the hold of a killed node is booked by another one, once, after its deadline", async () => {
  const { node, token } = await startWith({ chunks: Infinity });
  const stream = readStream(node, token);
  await waitUntil("the stream runs", () => provider.startedCount() === 1);
  node.process.kill("SIGKILL");
  await node.process.exited;
  await stream;
  const before = await readBooks(database);
  expect(before).toMatchObject({ held: 1, entries: 0 });
  await database.sql`
    update reservations
    set reserved_at = reserved_at - interval '1 hour', deadline_at = reserved_at
  `;
  const others = await Promise.all([startNode(database.url), startNode(database.url)]);
  nodes.push(...others);
  await waitUntil(
    "the sweeper has booked it",
    async () => (await readBooks(database)).expired === 1,
    SWEEP_MAX_MS,
  );
  expect(await readBooks(database)).toMatchObject({
    held: 0,
    entries: 1,
    events: 1,
    heldNanoUsd: 0n,
    settledNanoUsd: before.heldNanoUsd,
    bookedNanoUsd: before.heldNanoUsd,
  });
  const [event] = await database.sql`select usage_source from spend_events`;
  expect(event?.["usage_source"]).toBe("recovered");
}, 60_000);

async function startWith(options: {
  chunks: number;
  drainSeconds?: number;
}): Promise<{ node: TestNode; token: string }> {
  provider = serveSlowly({ chunks: options.chunks, intervalMs: INTERVAL_MS });
  const { token } = await foundCompany(database.sql, provider.baseUrl);
  const environment = { SPENDRA_DRAIN_SECONDS: String(options.drainSeconds ?? 60) };
  const node = await startNode(database.url, { environment });
  nodes.push(node);
  return { node, token };
}

/** What arrived of a stream, to its end or to where it broke. */
async function readStream(node: TestNode, token: string): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  try {
    const response = await postChat(node, token, { stream: true });
    for await (const bytes of response.body ?? []) {
      text += decoder.decode(bytes, { stream: true });
    }
  } catch {
    // It broke: the test looks at what came.
  }
  return text;
}

async function expectShuttingDown(response: Response): Promise<void> {
  expect(response.status).toBe(503);
  expect(Number(response.headers.get("retry-after"))).toBeGreaterThan(0);
  const { error } = (await response.json()) as { error: Record<string, unknown> };
  expect(error).toMatchObject({
    type: "service_unavailable",
    code: "shutting_down",
    param: null,
    request_id: response.headers.get("x-request-id") ?? "none",
    details: null,
  });
  expect(String(error["message"])).toContain("being stopped");
}
