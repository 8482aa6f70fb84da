/**
 * Streams that are cut: the caller leaves at any chunk, the provider breaks off, usage comes in
 * part or never. Whatever happens, the call is booked once, at more than nothing, and nothing
 * stays held.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fc from "fast-check";
import { readConfig } from "../src/config.ts";
import { AnswerTally } from "../src/gateway/answer-tally.ts";
import { emptyBuckets, outputTokensOf } from "../src/usage/buckets.ts";
import { estimateBeyond } from "../src/usage/estimate.ts";
import { foundCompany, nodeEnvironment, startNode, type TestNode } from "./node.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";
import {
  DONE,
  type SteppedCall,
  type SteppedProvider,
  stepProvider,
  textChunk,
} from "./stepped-provider.ts";
import { waitUntil } from "./wait-until.ts";

/** Nano-dollars a token of gpt-4o-mini: $0.15 and $0.60 a million. */
const RATES = { input: 150n, output: 600n };
const USAGE = { prompt_tokens: 20, completion_tokens: 12, total_tokens: 32 };
const USAGE_COST_NANO_USD = 20n * RATES.input + 12n * RATES.output;
const CHUNKS = 8;
/** Six bytes each: a token and a half by the estimate's rule of four bytes a token. */
const texts = Array.from({ length: CHUNKS }, (_, index) => `word${index} `);
const usageChunk = JSON.stringify({ id: "chatcmpl-1", choices: [], usage: USAGE });
/** Everything that a stream consists of; text has gone by after all but the last two. */
const events = [...texts.map((text) => textChunk(text)), usageChunk, DONE];
const CANCEL_MAX_MS = 1_000;

const TOKENS_MAX = 50;
const LONG_TEXT = "x".repeat(40);
const LONG_TEXT_TOKENS = 10n;

let database: TestDatabase;
let provider: SteppedProvider;
let token: string;
let draining: TestNode;
let aborting: TestNode;
let sparing: TestNode;
let hasty: TestNode;

beforeAll(async () => {
  database = await testDatabase();
  provider = await stepProvider();
  ({ token } = await foundCompany(database.sql, provider.baseUrl));
  const start = (environment: Record<string, string>) => startNode(database.url, { environment });
  [draining, aborting, sparing, hasty] = await Promise.all([
    start({}),
    start({ SPENDRA_ON_DISCONNECT: "abort" }),
    start({ SPENDRA_DISCONNECT_DRAIN_TOKENS: String(TOKENS_MAX) }),
    start({ SPENDRA_DISCONNECT_DRAIN_SECONDS: "1" }),
  ]);
}, 60_000);

afterAll(async () => {
  await Promise.all([draining, aborting, sparing, hasty].map((node) => node.stop()));
  await provider.stop();
  await database.drop();
});

describe.each(Array.from({ length: CHUNKS + 1 }, (_, chunk) => chunk))(
  "a stream whose caller leaves after chunk %d",
  (chunk) => {
    test("is drained to its usage and booked exactly", async () => {
      const call = await leaveAfter(draining, events.slice(0, chunk));
      await call.trickle(events.slice(chunk));
      call.end();
      expect(await bookedCall()).toMatchObject({
        usageSource: "provider",
        costNanoUsd: USAGE_COST_NANO_USD,
        requestStatus: 499,
      });
    });

    test("is cut at the provider within a second and booked by what was sent", async () => {
      const call = await leaveAfter(aborting, events.slice(0, chunk));
      await expectCancelled(call);
      const booked = await bookedCall();
      expect(booked).toMatchObject({ usageSource: "estimated", requestStatus: 499 });
      const tokens = BigInt(Math.max(Math.ceil((chunk * 6) / 4), 1));
      expect(booked.costNanoUsd).toBe(estimatedCost(booked.promptTokensMax, tokens));
    });
  },
);

describe("a stream whose caller leaves", () => {
  test("before the provider has answered is cut when the answer begins", async () => {
    const call = await leaveAfter(aborting, null);
    await call.trickle(events.slice(0, 1));
    await expectCancelled(call);
    expect(await bookedCall()).toMatchObject({ usageSource: "estimated" });
  });

  test.each([["drained"], ["cut"]])(
    "after its usage is booked exactly where it is %s",
    async (how) => {
      const node = how === "cut" ? aborting : draining;
      const call = await leaveAfter(node, events.slice(0, -1));
      if (node === draining) await call.trickle([DONE]);
      await call.closed;
      expect(await bookedCall()).toMatchObject({
        usageSource: "provider",
        costNanoUsd: USAGE_COST_NANO_USD,
      });
    },
  );

  test("is drained no further than the tokens that are allowed", async () => {
    const call = await leaveAfter(sparing, [textChunk(LONG_TEXT)]);
    await Promise.all([call.sendEndlessly(textChunk(LONG_TEXT)), call.closed]);
    const booked = await bookedCall();
    expect(booked).toMatchObject({ usageSource: "estimated", requestStatus: 499 });
    const outputTokens = booked.outputTokens;
    expect(outputTokens).toBeGreaterThan(BigInt(TOKENS_MAX));
    // What was sent before, and what was on the way when the limit was passed.
    expect(outputTokens).toBeLessThanOrEqual(BigInt(TOKENS_MAX) + 8n * LONG_TEXT_TOKENS);
    expect(booked.costNanoUsd).toBe(estimatedCost(booked.promptTokensMax, outputTokens));
  });

  test("is drained no longer than the time that is allowed", async () => {
    const call = await leaveAfter(hasty, events.slice(0, 2));
    const leftMs = performance.now();
    await call.closed;
    const drainedMs = performance.now() - leftMs;
    expect(drainedMs).toBeGreaterThan(700);
    expect(drainedMs).toBeLessThan(1_000 + CANCEL_MAX_MS);
    const booked = await bookedCall();
    expect(booked).toMatchObject({ usageSource: "estimated", requestStatus: 499 });
    expect(booked.costNanoUsd).toBe(estimatedCost(booked.promptTokensMax, 3n));
  });

  test("and whose provider breaks off then is booked by what was seen", async () => {
    const call = await leaveAfter(draining, events.slice(0, 2));
    await call.trickle(events.slice(2, 4));
    call.breakOff();
    const booked = await bookedCall();
    expect(booked).toMatchObject({ usageSource: "estimated", requestStatus: 499 });
    expect(booked.costNanoUsd).toBe(estimatedCost(booked.promptTokensMax, 6n));
  });

  test("and whose provider resets the connection is booked by what was read of it", async () => {
    const call = await leaveAfter(draining, events.slice(0, 2));
    await call.trickle(events.slice(2, 4));
    call.reset();
    const booked = await bookedCall();
    expect(booked).toMatchObject({ usageSource: "estimated", requestStatus: 499 });
    // Three tokens had passed before the caller left; the others may be lost in the network.
    expect(booked.outputTokens).toBeGreaterThanOrEqual(3n);
    expect(booked.outputTokens).toBeLessThanOrEqual(6n);
  });

  test("and that never tells its usage is booked by what was seen", async () => {
    const call = await leaveAfter(draining, events.slice(0, 2));
    await call.trickle([...events.slice(2, CHUNKS), DONE]);
    call.end();
    const booked = await bookedCall();
    expect(booked).toMatchObject({ usageSource: "estimated", requestStatus: 499 });
    expect(booked.costNanoUsd).toBe(estimatedCost(booked.promptTokensMax, 12n));
  });
});

describe("a stream whose caller stays", () => {
  test("and whose provider breaks off is broken too, and booked by what was seen", async () => {
    const { call, readToEnd } = await begin(draining, events.slice(0, 4));
    const isBroken = readToEnd().then(
      () => false,
      () => true,
    );
    call.reset();
    expect(await isBroken).toBe(true);
    const booked = await bookedCall();
    expect(booked).toMatchObject({ usageSource: "estimated", errorCode: "provider_error" });
    expect(booked.costNanoUsd).toBe(estimatedCost(booked.promptTokensMax, 6n));
  });

  test("and that never tells its usage is booked by what was seen", async () => {
    const { call, readToEnd } = await begin(draining, events.slice(0, CHUNKS));
    call.send(DONE);
    call.end();
    expect(await readToEnd()).toContain(DONE);
    const booked = await bookedCall();
    expect(booked).toMatchObject({ usageSource: "estimated", requestStatus: 200 });
    expect(booked.costNanoUsd).toBe(estimatedCost(booked.promptTokensMax, 12n));
  });
});

describe("an estimate of what was seen of a stream", () => {
  test("has a token for each event, however short its text", async () => {
    const call = await leaveAfter(
      aborting,
      Array.from("stop!", (letter) => textChunk(letter)),
    );
    await expectCancelled(call);
    const booked = await bookedCall();
    expect(booked.costNanoUsd).toBe(estimatedCost(booked.promptTokensMax, 5n));
  });

  test("does not count comments, which only keep a connection open", () => {
    const tally = new AnswerTally({ hidesUsageChunk: true });
    tally.push(Buffer.from(": still here\n\n".repeat(3)));
    expect(tally.unreportedBytes).toBe(0n);
    tally.push(Buffer.from(`data: ${textChunk("a")}\n\n: still here\n\n`));
    expect(tally.unreportedBytes).toBe(4n);
  });
});

describe("usage that comes early, late or in parts", () => {
  const reporting = (completionTokens: number, text = "word ") =>
    textChunk(text, { usage: { prompt_tokens: 20, completion_tokens: completionTokens } });

  test("with every chunk is read to its end in a drain, not to its first part", async () => {
    const call = await leaveAfter(draining, [reporting(1)]);
    await call.trickle([reporting(2), reporting(12), DONE]);
    call.end();
    expect(await bookedCall()).toMatchObject({
      usageSource: "provider",
      costNanoUsd: USAGE_COST_NANO_USD,
    });
  });

  test("with every chunk is the least of an estimate when the stream is cut", async () => {
    const call = await leaveAfter(aborting, [reporting(1), reporting(11)]);
    await expectCancelled(call);
    expect(await bookedCall()).toMatchObject({
      usageSource: "estimated",
      costNanoUsd: 20n * RATES.input + 11n * RATES.output,
    });
  });

  test("counts in a last event that no empty line ends", async () => {
    const call = await leaveAfter(draining, events.slice(0, CHUNKS));
    await call.trickleRest(usageChunk);
    expect(await bookedCall()).toMatchObject({
      usageSource: "provider",
      costNanoUsd: USAGE_COST_NANO_USD,
    });
  });

  test("before text is not taken for all of it when the provider just ends", async () => {
    const early = textChunk("", { usage: { prompt_tokens: 20, completion_tokens: 0 } });
    const call = await leaveAfter(draining, [early]);
    await call.trickle(events.slice(0, CHUNKS));
    call.end();
    expect(await bookedCall()).toMatchObject({
      usageSource: "estimated",
      costNanoUsd: 20n * RATES.input + 12n * RATES.output,
    });
  });

  test("has added to it what was seen after it", async () => {
    const call = await leaveAfter(aborting, [reporting(11), textChunk("x".repeat(30))]);
    await expectCancelled(call);
    expect(await bookedCall()).toMatchObject({
      usageSource: "estimated",
      costNanoUsd: 20n * RATES.input + (11n + 8n) * RATES.output,
    });
  });

  test("without anything in it does not make the call free", async () => {
    const none = textChunk("word ", { usage: { prompt_tokens: 0, completion_tokens: 0 } });
    const call = await leaveAfter(aborting, [none]);
    await expectCancelled(call);
    const booked = await bookedCall();
    expect(booked.costNanoUsd).toBe(estimatedCost(booked.promptTokensMax, 0n));
  });

  test("counts above the bound as it was reported, and is added to up to the bound", () => {
    const counts = fc.bigInt({ min: 0n, max: 10n ** 7n });
    fc.assert(
      fc.property(counts, counts, counts, (reportedTokens, most, unreportedBytes) => {
        const reported = { ...emptyBuckets, outputReasoningTokens: reportedTokens };
        const bounds = { promptTokensMax: 1n, completionTokensMax: most };
        const tokens = outputTokensOf(estimateBeyond(reported, bounds, unreportedBytes));
        expect(tokens).toBeGreaterThanOrEqual(reportedTokens);
        // As a number: what is compared here is far below 2⁵³.
        expect(Number(tokens)).toBeLessThanOrEqual(Math.max(Number(reportedTokens), Number(most)));
      }),
    );
  });
});

describe("the settings of all this", () => {
  const complete = nodeEnvironment("postgres://spendra@localhost/spendra", "/tmp");

  test.each<[Record<string, string>, number, number]>([
    [{}, 60_000, 4_096],
    [{ SPENDRA_ON_DISCONNECT: "drain" }, 60_000, 4_096],
    [{ SPENDRA_ON_DISCONNECT: "abort" }, 0, 4_096],
    [{ SPENDRA_DISCONNECT_DRAIN_SECONDS: "600" }, 600_000, 4_096],
    [{ SPENDRA_DISCONNECT_DRAIN_SECONDS: "0" }, 0, 4_096],
    [{ SPENDRA_DISCONNECT_DRAIN_TOKENS: "0" }, 60_000, 0],
    [{ SPENDRA_DISCONNECT_DRAIN_TOKENS: "1000000" }, 60_000, 1_000_000],
    // Another drain: of running calls, when the node stops.
    [{ SPENDRA_DRAIN_SECONDS: "5" }, 60_000, 4_096],
  ])("%p drain for %p ms and %p tokens", (given, timeoutMs, tokensMax) => {
    const config = readConfig({ ...complete, ...given });
    expect(config.disconnectDrain).toEqual({ timeoutMs, tokensMax });
  });

  test("are refused together when they make no sense", () => {
    const wrong = {
      SPENDRA_ON_DISCONNECT: "ignore",
      SPENDRA_DISCONNECT_DRAIN_SECONDS: "601",
      SPENDRA_DISCONNECT_DRAIN_TOKENS: "-1",
    };
    expect(() => readConfig({ ...complete, ...wrong })).toThrow("has 3 mistake(s)");
  });
});

test.each([["drained"], ["cut"]])(
  "an answer in one piece is read to its end where streams are %s",
  async (how) => {
    const node = how === "cut" ? aborting : draining;
    const call = await leaveAfter(node, null, { stream: false });
    await call.answerWhole(
      JSON.stringify({ choices: [{ message: { content: "yes" } }], usage: USAGE }),
    );
    expect(await bookedCall()).toMatchObject({
      usageSource: "provider",
      costNanoUsd: USAGE_COST_NANO_USD,
      requestStatus: 200,
    });
  },
);

/** A call of which the caller has read these events. */
async function begin(node: TestNode, sent: readonly string[], signal?: AbortSignal) {
  const answered = post(node, { stream: true }, signal);
  const call = await provider.nextCall();
  for (const data of sent) call.send(data);
  const reader = ((await answered).body ?? new ReadableStream<Uint8Array>()).getReader();
  let text = "";
  const readUntil = async (isEnough: () => boolean): Promise<string> => {
    const decoder = new TextDecoder();
    while (!isEnough()) {
      const { done, value } = await reader.read();
      if (done) break;
      text += decoder.decode(value, { stream: true });
    }
    return text;
  };
  await readUntil(() => text.split("\n\n").length > sent.length);
  return { call, readToEnd: () => readUntil(() => false) };
}

/**
 * A call whose caller leaves when it has read these events; with none after the answer has begun,
 * with null before.
 */
async function leaveAfter(
  node: TestNode,
  sent: readonly string[] | null,
  fields: object = { stream: true },
): Promise<SteppedCall> {
  const caller = new AbortController();
  if (sent !== null && sent.length > 0) {
    const { call } = await begin(node, sent, caller.signal);
    caller.abort();
    return call;
  }
  const answered = post(node, fields, caller.signal);
  const call = await provider.nextCall();
  if (sent !== null) call.begin();
  caller.abort();
  await answered.catch(() => {});
  return call;
}

async function post(node: TestNode, fields: object, signal?: AbortSignal): Promise<Response> {
  return await fetch(`${node.url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify({
      model: "gpt-4o-mini",
      max_tokens: 1_000,
      messages: [{ role: "user", content: "hello" }],
      stream_options: { include_usage: true },
      ...fields,
    }),
    ...(signal === undefined ? {} : { signal }),
  });
}

async function expectCancelled(call: SteppedCall): Promise<void> {
  const leftMs = performance.now();
  await call.closed;
  expect(performance.now() - leftMs).toBeLessThan(CANCEL_MAX_MS);
}

function estimatedCost(promptTokensMax: bigint, outputTokens: bigint): bigint {
  return ((promptTokensMax + 3n) / 4n) * RATES.input + outputTokens * RATES.output;
}

/** The newest call, once it is booked; with what holds for every booked call. */
async function bookedCall() {
  await waitUntil("nothing is held", async () => {
    const held = await database.sql`select from reservations where status = 'held'`;
    return held.length === 0;
  });
  const [booked] = await database.sql<BookedCall[]>`
    select
      r.status, r.amount_nano_usd as "amountNanoUsd", r.prompt_tokens_max as "promptTokensMax",
      s.usage_source as "usageSource", s.cost_nano_usd as "costNanoUsd",
      s.output_text_tokens as "outputTokens",
      g.status as "requestStatus", g.error_code as "errorCode",
      (select count(*)::int from spend_events where reservation_id = r.id) as events,
      (
        select array_agg(amount_nano_usd) from ledger_entries where reservation_id = r.id
      ) as entries
    from reservations r
    join spend_events s on s.organization_id = r.organization_id and s.reservation_id = r.id
    join gateway_requests g on g.organization_id = r.organization_id and g.reservation_id = r.id
    order by r.reserved_at desc, r.id desc
    limit 1
  `;
  if (booked === undefined) throw new Error("no call is booked");
  expect(booked).toMatchObject({ status: "settled", events: 1, entries: [booked.costNanoUsd] });
  expect(booked.costNanoUsd).toBeGreaterThan(0n);
  expect(booked.costNanoUsd).toBeLessThanOrEqual(booked.amountNanoUsd);
  const [windows] = await database.sql<[{ held: bigint; settled: bigint; spent: bigint }]>`
    select
      (select max(held_nano_usd) from budget_windows) as held,
      (select min(settled_nano_usd) from budget_windows) as settled,
      (select sum(amount_nano_usd)::bigint from ledger_entries) as spent
  `;
  expect(windows.held).toBe(0n);
  expect(windows.settled).toBe(windows.spent);
  return booked;
}

type BookedCall = {
  status: string;
  amountNanoUsd: bigint;
  promptTokensMax: bigint;
  usageSource: string;
  costNanoUsd: bigint;
  outputTokens: bigint;
  requestStatus: number;
  errorCode: string | null;
  events: number;
  entries: bigint[];
};
