/**
 * Running streams of what is blocked or revoked end on every node within a second, when that is
 * asked for: the provider's connection is closed, what was seen is booked, and the caller is told.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import OpenAI from "openai";
import type { DemoCompany } from "../src/cli/demo-company.ts";
import { ADMIN, foundCompany, startNode, type TestNode } from "./node.ts";
import { postChat, readBooks } from "./node-calls.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";
import {
  DONE,
  type SteppedCall,
  type SteppedProvider,
  stepProvider,
  textChunk,
} from "./stepped-provider.ts";
import { waitUntil } from "./wait-until.ts";

const CUT_MAX_MS = 1_000;
const NODES = 3;
const STREAMS_A_NODE = 8;
const USAGE = { prompt_tokens: 20, completion_tokens: 12, total_tokens: 32 };
const usageChunk = JSON.stringify({ id: "chatcmpl-1", choices: [], usage: USAGE });

type Made = { id: string; token: string };

let database: TestDatabase;
let provider: SteppedProvider;
let company: DemoCompany;
let nodes: TestNode[];
let cookie: string;

beforeAll(async () => {
  database = await testDatabase();
  provider = await stepProvider();
  company = await foundCompany(database.sql, provider.baseUrl);
  nodes = await Promise.all(Array.from({ length: NODES }, () => startNode(database.url)));
  const response = await fetch(`${nodes[0]?.url}/management/session`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ email: ADMIN.email, password: ADMIN.password }),
  });
  cookie = (response.headers.get("set-cookie") ?? "").split(";", 1)[0] ?? "";
}, 60_000);

afterAll(async () => {
  await Promise.all(nodes.map((node) => node.stop()));
  await provider.stop();
  await database.drop();
});

afterEach(async () => {
  await database.sql`update blocks set lifted_at = now() where lifted_at is null`;
});

async function manage(path: string, body?: object, version?: number): Promise<Made> {
  const response = await fetch(`${nodes[0]?.url}/management${path}`, {
    method: "POST",
    headers: {
      cookie,
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...(version === undefined ? {} : { "if-match": `"${version}"` }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  expect(response.ok).toBe(true);
  return (await response.json()) as Made;
}

async function createKey(): Promise<Made> {
  const actor = { kind: "employee", id: company.employeeId };
  const fields = { environment: "production", allowedModels: ["gpt-4o-mini"] };
  return await manage("/api-keys", { name: "K", actor, ...fields });
}

const byTeam = (fields: object = {}): Promise<Made> => {
  const target = { kind: "team", id: company.teamId };
  return manage("/blocks", { target, reason: "Runs in a loop.", cutRunning: true, ...fields });
};

/** A stream of which two events have gone by. */
async function begin(node: TestNode, token: string, fields: object = {}) {
  const [response, call] = await Promise.all([
    postChat(node, token, { stream: true, ...fields }),
    provider.nextCall().then((arrived) => {
      arrived.begin();
      arrived.send(textChunk("hello "));
      arrived.send(textChunk("world "));
      return arrived;
    }),
  ]);
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  let text = "";
  const readUntil = async (part: string): Promise<void> => {
    while (!text.includes(part)) {
      text += new TextDecoder().decode((await reader.read()).value);
    }
  };
  await readUntil("world");
  const rest = async (): Promise<string> => {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return text;
      text += new TextDecoder().decode(value);
    }
  };
  return { call, readUntil, rest, cancel: () => reader.cancel(), requestId: requestIdOf(response) };
}

function requestIdOf(response: Response): string {
  return response.headers.get("x-request-id") ?? "";
}

async function bookedOf(requestId: string) {
  return await waitUntil("it is booked", async () => {
    const [row] = await database.sql<
      { usageSource: string; costNanoUsd: bigint; status: number; errorCode: string | null }[]
    >`
      select
        e.usage_source as "usageSource", e.cost_nano_usd as "costNanoUsd", r.status,
        r.error_code as "errorCode"
      from spend_events e
      join gateway_requests r on r.organization_id = e.organization_id and r.id = e.request_id
      where e.request_id = ${requestId}
    `;
    return row ?? null;
  });
}

async function closedWithin(calls: readonly SteppedCall[], startedMs: number): Promise<number> {
  await Promise.all(calls.map(({ closed }) => closed));
  const passedMs = performance.now() - startedMs;
  expect(passedMs).toBeLessThan(CUT_MAX_MS);
  return passedMs;
}

describe("with cutRunning", () => {
  test("a block ends the streams of its scope on every node, and tells their callers", async () => {
    const { token } = await createKey();
    const streams = [];
    for (const node of nodes) {
      for (let index = 0; index < STREAMS_A_NODE; index++) streams.push(await begin(node, token));
    }
    const startedMs = performance.now();
    const { id } = await byTeam();
    const passedMs = await closedWithin(
      streams.map(({ call }) => call),
      startedMs,
    );
    const passed = `${passedMs.toFixed(0)} ms`;
    console.info(`${streams.length} streams on ${NODES} nodes were cut after ${passed}`);
    for (const stream of streams) {
      const text = await stream.rest();
      expect(text).not.toContain(DONE);
      const lastEvent = text.trimEnd().split("\n\n").at(-1) ?? "";
      const last: unknown = JSON.parse(lastEvent.slice("data: ".length));
      expect(last).toMatchObject({
        error: {
          code: "blocked",
          message: "Blocked by an administrator: Runs in a loop.",
          request_id: stream.requestId,
          details: { block_id: id },
        },
      });
      const booked = await bookedOf(stream.requestId);
      expect(booked).toMatchObject({ usageSource: "estimated", errorCode: "blocked", status: 200 });
      expect(booked.costNanoUsd).toBeGreaterThan(0n);
    }
    const books = await readBooks(database);
    expect(books).toMatchObject({ held: 0, heldNanoUsd: 0n, released: 0 });
    expect(books.settledNanoUsd).toBe(books.bookedNanoUsd);
  });

  test("a revocation ends the streams of its key and of no other", async () => {
    const [key, other] = [await createKey(), await createKey()];
    const cut = [];
    for (const node of nodes) cut.push(await begin(node, key.token));
    const spared = await begin(nodes[1] as TestNode, other.token);
    const startedMs = performance.now();
    await manage(`/api-keys/${key.id}/revoke?cutRunning=true`, undefined, 1);
    await closedWithin(
      cut.map(({ call }) => call),
      startedMs,
    );
    for (const { rest, requestId } of cut) {
      expect(await rest()).toContain('"code":"key_revoked"');
      expect(await bookedOf(requestId)).toMatchObject({ errorCode: "key_revoked" });
    }
    expect(spared.call.isClosed()).toBe(false);
    spared.call.send(usageChunk);
    spared.call.send(DONE);
    spared.call.end();
    expect(await spared.rest()).toContain(DONE);
    expect(await bookedOf(spared.requestId)).toMatchObject({ usageSource: "provider" });
  });

  test("a block of a model or provider ends its streams as well", async () => {
    const { token } = await createKey();
    for (const target of [
      { kind: "model", id: "gpt-4o-mini" },
      { kind: "provider", id: "openai" },
    ]) {
      const stream = await begin(nodes[2] as TestNode, token);
      const startedMs = performance.now();
      const { id } = await byTeam({ target });
      await closedWithin([stream.call], startedMs);
      expect(await stream.rest()).toContain(id);
      await manage(`/blocks/${id}/lift`);
    }
  });

  test("a stream that was admitted before the block and begins after it ends too", async () => {
    const { token } = await createKey();
    const asked = postChat(nodes[1] as TestNode, token, { stream: true });
    const call = await provider.nextCall();
    await byTeam();
    const startedMs = performance.now();
    call.begin();
    call.send(textChunk("late "));
    await closedWithin([call], startedMs);
    const response = await asked;
    expect(await response.text()).toContain('"code":"blocked"');
    expect(await bookedOf(requestIdOf(response))).toMatchObject({ errorCode: "blocked" });
  });

  test("a stream whose caller reads nothing is booked all the same", async () => {
    const { token } = await createKey();
    const stream = await begin(nodes[0] as TestNode, token);
    await byTeam();
    expect(await bookedOf(stream.requestId)).toMatchObject({ errorCode: "blocked" });
    await stream.cancel();
  });

  test("a stream whose caller has gone is drained no further", async () => {
    const { token } = await createKey();
    const stream = await begin(nodes[0] as TestNode, token);
    await stream.cancel();
    await stream.call.trickle([textChunk("unread ")]);
    expect(stream.call.isClosed()).toBe(false);
    const startedMs = performance.now();
    await byTeam();
    await closedWithin([stream.call], startedMs);
    expect(await bookedOf(stream.requestId)).toMatchObject({ status: 499, errorCode: "blocked" });
  });

  test("a stream whose usage was reported is booked exactly", async () => {
    const { token } = await createKey();
    const fields = { stream_options: { include_usage: true } };
    const stream = await begin(nodes[0] as TestNode, token, fields);
    stream.call.send(usageChunk);
    await stream.readUntil("total_tokens");
    await byTeam();
    const text = await stream.rest();
    expect(text).toContain('"code":"blocked"');
    expect(await bookedOf(stream.requestId)).toMatchObject({
      usageSource: "provider",
      costNanoUsd: 20n * 150n + 12n * 600n,
    });
  });

  test("OpenAI's client sees an error, and does not call again", async () => {
    const { token } = await createKey();
    const client = new OpenAI({ baseURL: `${nodes[0]?.url}/v1`, apiKey: token });
    const messages = [{ role: "user" as const, content: "hello" }];
    const [stream, call] = await Promise.all([
      client.chat.completions.create({ model: "gpt-4o-mini", messages, stream: true }),
      provider.nextCall().then((arrived) => {
        arrived.begin();
        arrived.send(textChunk("hello "));
        return arrived;
      }),
    ]);
    const reading = (async () => {
      for await (const _ of stream);
    })();
    await byTeam();
    expect(await reading.catch((error: unknown) => error)).toMatchObject({ code: "blocked" });
    expect(call.isClosed()).toBe(true);
  });
});

describe("without cutRunning", () => {
  test("running streams end by themselves, and are booked by their usage", async () => {
    const key = await createKey();
    const stream = await begin(nodes[0] as TestNode, key.token);
    await byTeam({ cutRunning: false });
    await manage(`/api-keys/${key.id}/revoke`, undefined, 1);
    expect((await postChat(nodes[1] as TestNode, key.token)).status).toBe(401);
    // Once another stream on the node was cut, it has looked.
    await database.sql`update blocks set lifted_at = now()`;
    const other = await createKey();
    const cut = await begin(nodes[0] as TestNode, other.token);
    await manage(`/api-keys/${other.id}/revoke?cutRunning=true`, undefined, 1);
    await cut.call.closed;
    expect(stream.call.isClosed()).toBe(false);
    stream.call.send(usageChunk);
    stream.call.send(DONE);
    stream.call.end();
    expect(await stream.rest()).toContain(DONE);
    expect(await bookedOf(stream.requestId)).toMatchObject({
      usageSource: "provider",
      errorCode: null,
    });
  });

  test("cutting can still be asked for after the key was revoked", async () => {
    const key = await createKey();
    const stream = await begin(nodes[0] as TestNode, key.token);
    await manage(`/api-keys/${key.id}/revoke`, undefined, 1);
    const startedMs = performance.now();
    await manage(`/api-keys/${key.id}/revoke?cutRunning=true`, undefined, 2);
    await closedWithin([stream.call], startedMs);
    expect(await stream.rest()).toContain('"code":"key_revoked"');
  });
});
