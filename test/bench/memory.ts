/**
 * (c) and (f): resident memory of the node before, during and after many slow streams, and before,
 * during and after a load in which a fifth of the callers leaves in the middle of the answer.
 */
import { join } from "node:path";
import { sleep } from "../../src/clock.ts";
import { chatBody } from "./calls.ts";
import { residentMib } from "./measure.ts";
import type { BenchDatabase, Program } from "./server.ts";
import type { StreamOrder, StreamResult } from "./stream-clients.ts";

export type MemoryRow = StreamResult & {
  load: string;
  beforeMib: number;
  peakMib: number;
  afterMib: number;
  /** Of the callers' streams, with all of them open at once; NaN if they never were. */
  kibAStream: number;
  /** Seconds until all were open at once; NaN if they never were. */
  openSeconds: number;
  /** Holds that were still open when the wait for them was over. */
  heldAfter: number;
};

type Place = { node: Program; database: BenchDatabase; token: string };

const SAMPLE_MS = 250;
const SETTLE_MS = 3_000;
const REST_MS = 8_000;
const HELD_POLLS_MAX = 80;

/** Each stream lasts `seconds` at least, with an event every half second. */
export async function measureSlowStreams(
  place: Place,
  callers: number,
  seconds: number,
): Promise<MemoryRow> {
  const order = orderOf(place, {
    callers,
    durationMs: 0,
    abortedShare: 0,
    chunkDelayMs: 500,
    tokens: seconds * 2,
  });
  // The first calls load code and open connections; they are not what is measured.
  await run(place, { ...order, callers: 32, headers: fast(order.headers) });
  const row = await run(place, order);
  return { ...row, load: `${callers} slow streams` };
}

/** Streams of about 300 ms, one in five cut after the first byte. */
export async function measureAborts(place: Place, durationMs: number): Promise<MemoryRow> {
  const order = orderOf(place, {
    callers: 64,
    durationMs,
    abortedShare: 0.2,
    chunkDelayMs: 5,
    tokens: 48,
  });
  await run(place, { ...order, durationMs: Math.min(durationMs, 10_000) });
  const row = await run(place, order);
  const seconds = Math.round(durationMs / 1000);
  return { ...row, kibAStream: Number.NaN, load: `64 callers for ${seconds} s, 20 % aborting` };
}

function orderOf(
  { node, token }: Place,
  shape: {
    callers: number;
    durationMs: number;
    abortedShare: number;
    chunkDelayMs: number;
    tokens: number;
  },
): StreamOrder {
  return {
    port: Number(new URL(node.url).port),
    headers: {
      authorization: `Bearer ${token}`,
      "x-simulator-chunk-delay-ms": `${shape.chunkDelayMs}`,
      "x-simulator-tokens": `${shape.tokens}`,
    },
    body: chatBody(true),
    callers: shape.callers,
    durationMs: shape.durationMs,
    abortedShare: shape.abortedShare,
  };
}

function fast(headers: Record<string, string>): Record<string, string> {
  return { ...headers, "x-simulator-chunk-delay-ms": "1" };
}

async function run(place: Place, order: StreamOrder): Promise<Omit<MemoryRow, "load">> {
  await sleep(SETTLE_MS);
  const beforeMib = await residentMib(place.node.processId);
  const startedMs = performance.now();
  const child = Bun.spawn(
    [process.execPath, join(import.meta.dir, "stream-clients.ts"), JSON.stringify(order)],
    { stdout: "pipe", stderr: "inherit", timeout: order.durationMs + 180_000 },
  );
  let peakMib = beforeMib;
  let openMib = Number.NaN;
  let openSeconds = Number.NaN;
  const sampler = setInterval(() => {
    residentMib(place.node.processId).then(
      (mib) => {
        peakMib = Math.max(peakMib, mib);
      },
      () => {},
    );
  }, SAMPLE_MS);
  let text = "";
  for await (const piece of child.stdout.pipeThrough(new TextDecoderStream())) {
    text += piece;
    if (Number.isNaN(openMib) && text.startsWith("open\n")) {
      openSeconds = (performance.now() - startedMs) / 1000;
      openMib = await residentMib(place.node.processId);
    }
  }
  clearInterval(sampler);
  const result = JSON.parse(text.trim().split("\n").at(-1) ?? "{}") as StreamResult;
  const heldAfter = await waitUntilNoneHeld(place.database);
  await sleep(REST_MS);
  return {
    ...result,
    beforeMib,
    peakMib,
    afterMib: await residentMib(place.node.processId),
    kibAStream: ((openMib - beforeMib) * 1024) / order.callers,
    openSeconds,
    heldAfter,
  };
}

async function waitUntilNoneHeld({ sql }: BenchDatabase): Promise<number> {
  let held = 0;
  for (let poll = 0; poll < HELD_POLLS_MAX; poll++) {
    const [row] = await sql<[{ held: number }]>`
      select count(*)::int as held from reservations where status = 'held'
    `;
    held = row.held;
    if (held === 0) {
      break;
    }
    await sleep(SAMPLE_MS);
  }
  return held;
}
