/**
 * (c) and (f): resident memory of the node before, during and after many slow streams, and before,
 * during and after a load in which a fifth of the callers leaves in the middle of the answer.
 */
import { join } from "node:path";
import { sleep } from "../../src/clock.ts";
import { chatBody } from "./calls.ts";
import { median, residentMib } from "./measure.ts";
import type { BenchDatabase, Program } from "./server.ts";
import type { StreamOrder, StreamResult } from "./stream-clients.ts";

export type MemoryRow = StreamResult & {
  shape: "slow streams" | "aborts";
  load: string;
  beforeMib: number;
  /** The median of what was seen every quarter of a second. */
  duringMib: number;
  peakMib: number;
  afterMib: number;
  /** Of the callers' streams, at the peak; NaN if they never were all open at once. */
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
const WARMUP_MAX_MS = 10_000;
const CLIENTS_TIMEOUT_MS = 180_000;
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
  await runClients({ ...order, callers: 32, headers: fast(order.headers) });
  const row = await run(place, order);
  return { ...row, shape: "slow streams", load: `${callers} slow streams` };
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
  await runClients({ ...order, durationMs: Math.min(durationMs / 2, WARMUP_MAX_MS) });
  const row = await run(place, order);
  const seconds = Math.round(durationMs / 1000);
  const load = `64 callers for ${seconds} s, 20 % aborting`;
  return { ...row, shape: "aborts", kibAStream: Number.NaN, openSeconds: Number.NaN, load };
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

async function run(place: Place, order: StreamOrder): Promise<Omit<MemoryRow, "load" | "shape">> {
  await sleep(SETTLE_MS);
  const beforeMib = await residentMib(place.node.processId);
  const startedMs = performance.now();
  const seenMib: number[] = [];
  let openSeconds = Number.NaN;
  const sampler = setInterval(() => {
    residentMib(place.node.processId).then(
      (mib) => {
        seenMib.push(mib);
      },
      () => {},
    );
  }, SAMPLE_MS);
  const result = await runClients(order, () => {
    openSeconds = (performance.now() - startedMs) / 1000;
  });
  clearInterval(sampler);
  const peakMib = seenMib.reduce((highest, mib) => Math.max(highest, mib), beforeMib);
  const kibAStream = ((peakMib - beforeMib) * 1024) / order.callers;
  const heldAfter = await waitUntilNoneHeld(place.database);
  await sleep(REST_MS);
  return {
    ...result,
    beforeMib,
    duringMib: median(seenMib),
    peakMib,
    afterMib: await residentMib(place.node.processId),
    kibAStream: Number.isNaN(openSeconds) ? Number.NaN : kibAStream,
    openSeconds,
    heldAfter,
  };
}

/** `onAllOpen` is called once, when every caller has had a first byte and none its last. */
async function runClients(
  order: StreamOrder,
  onAllOpen: () => void = () => {},
): Promise<StreamResult> {
  const child = Bun.spawn(
    [process.execPath, join(import.meta.dir, "stream-clients.ts"), JSON.stringify(order)],
    { stdout: "pipe", stderr: "inherit", timeout: order.durationMs + CLIENTS_TIMEOUT_MS },
  );
  let text = "";
  let isOpen = false;
  for await (const piece of child.stdout.pipeThrough(new TextDecoderStream())) {
    text += piece;
    if (!isOpen && text.startsWith("open\n")) {
      isOpen = true;
      onAllOpen();
    }
  }
  const last = text.trim().split("\n").at(-1) ?? "";
  if ((await child.exited) !== 0 || last === "") {
    throw new Error("the callers of streams failed");
  }
  return JSON.parse(last) as StreamResult;
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
