/**
 * (b) Whole calls through every gateway that is here, one after the other in each round, so that a
 * busy neighbour on the machine disturbs all of them and not one.
 */
import { join } from "node:path";
import type { LoadOrder, LoadResult } from "./load.ts";
import { median, processorSeconds } from "./measure.ts";

/** A server to be measured, and what a request to it needs. */
export type Target = {
  name: string;
  port: number;
  headers: Record<string, string>;
  /** Of everything that works for it, its database included; the upstream is not. */
  processIds: readonly number[];
  /** False when it did not answer a stream to its end. */
  canStream: boolean;
};

export type CallRow = LoadResult & {
  target: string;
  concurrency: number;
  isStreaming: boolean;
  upstreamDelayMs: number;
  loop: "closed" | "open";
  rounds: number;
  /** Of the gateway and its database, a call. */
  cpuMicroseconds: number;
};

export type Cell = {
  concurrency: number;
  isStreaming: boolean;
  upstreamDelayMs: number;
  /** Absent: closed loop. */
  perSecond?: number;
};

const WARMUP_CONNECTIONS = 64;

export type Pace = { warmupMs: number; durationMs: number; rounds: number };

/** About 1 KB of prompt; the answer has 48 tokens. */
const PROMPT =
  "Explain in one paragraph why a budget is checked before the money is spent. ".repeat(12);
const PROBE_TIMEOUT_MS = 3_000;
const LOAD_TIMEOUT_MS = 60_000;

export async function measureCell(
  targets: readonly Target[],
  cell: Cell,
  pace: Pace,
  log: (line: string) => void,
): Promise<CallRow[]> {
  const asked = targets.filter((target) => target.canStream || !cell.isStreaming);
  const results = asked.map((target) => ({ target, samples: [] as CallRow[] }));
  const kind = cell.isStreaming ? "streams" : "whole calls";
  const shape = `${cell.concurrency} ${kind} at a time, upstream ${cell.upstreamDelayMs} ms`;
  log(`measuring ${shape}: ${asked.map(({ name }) => name).join(", ")}`);
  for (let round = 0; round < pace.rounds; round++) {
    for (const { target, samples } of results) {
      samples.push(await measureOnce(target, cell, pace));
    }
  }
  return results.map(({ target, samples }) => {
    const row = medianOf(samples);
    log(
      `  ${target.name}: ${row.perSecond.toFixed(0)}/s, ` +
        `p50 ${row.p50Ms.toFixed(2)} ms, p99 ${row.p99Ms.toFixed(2)} ms` +
        (row.failures > 0 ? `, ${row.failures} FAILED: ${row.firstFailure}` : ""),
    );
    return row;
  });
}

/** Asks once; throws when a whole call is not answered, and says whether a stream is. */
export async function probe(target: Omit<Target, "canStream">): Promise<Target> {
  const whole = await askOnce(target, false);
  if (whole !== "200") {
    throw new Error(`answers ${whole}`);
  }
  return { ...target, canStream: (await askOnce(target, true)) === "200" };
}

async function askOnce(target: Omit<Target, "canStream">, isStreaming: boolean): Promise<string> {
  try {
    const response = await fetch(`http://127.0.0.1:${target.port}/v1/chat/completions`, {
      method: "POST",
      headers: { ...target.headers, "content-type": "application/json" },
      body: chatBody(isStreaming),
      signal: AbortSignal.timeout(PROBE_TIMEOUT_MS),
    });
    const text = await response.text();
    const isWhole = !isStreaming || text.includes("data: [DONE]");
    return isWhole ? `${response.status}` : "a stream without an end";
  } catch (error) {
    return String(error);
  }
}

/**
 * A gateway runs for weeks: what its engine compiles in the first thousands of calls is not what is
 * measured. The same time for each.
 */
export async function warmUp(targets: readonly Target[], durationMs: number): Promise<void> {
  for (const target of targets) {
    for (const isStreaming of target.canStream ? [false, true] : [false]) {
      await runLoad({
        port: target.port,
        headers: target.headers,
        body: chatBody(isStreaming),
        connections: WARMUP_CONNECTIONS,
        warmupMs: 0,
        durationMs,
      });
    }
  }
}

/** Runs one order in a process of its own. */
export async function runLoad(order: LoadOrder): Promise<LoadResult> {
  const child = Bun.spawn(
    [process.execPath, join(import.meta.dir, "load.ts"), JSON.stringify(order)],
    { stdout: "pipe", stderr: "inherit", timeout: LOAD_TIMEOUT_MS },
  );
  const text = await new Response(child.stdout).text();
  if ((await child.exited) !== 0 || text === "") {
    throw new Error("the load generator failed");
  }
  return JSON.parse(text) as LoadResult;
}

export function chatBody(isStreaming: boolean): string {
  return JSON.stringify({
    model: "gpt-4o-mini",
    max_tokens: 100,
    messages: [{ role: "user", content: PROMPT }],
    ...(isStreaming ? { stream: true } : {}),
  });
}

async function measureOnce(target: Target, cell: Cell, pace: Pace): Promise<CallRow> {
  const before = await processorSeconds(target.processIds);
  const result = await runLoad({
    port: target.port,
    headers: target.headers,
    body: chatBody(cell.isStreaming),
    connections: cell.concurrency,
    warmupMs: pace.warmupMs,
    durationMs: pace.durationMs,
    ...(cell.perSecond === undefined ? {} : { perSecond: cell.perSecond }),
  });
  const used = (await processorSeconds(target.processIds)) - before;
  // The processors also worked during the warm-up, at the same rate.
  const calls = (result.perSecond * (pace.warmupMs + pace.durationMs)) / 1000;
  return {
    ...result,
    target: target.name,
    concurrency: cell.concurrency,
    isStreaming: cell.isStreaming,
    upstreamDelayMs: cell.upstreamDelayMs,
    loop: cell.perSecond === undefined ? "closed" : "open",
    rounds: pace.rounds,
    cpuMicroseconds: (used * 1_000_000) / calls,
  };
}

/** Each number by itself: the median of its rounds; failures are added up. */
function medianOf(samples: readonly CallRow[]): CallRow {
  const [first] = samples;
  if (first === undefined) {
    throw new Error("a cell needs a round");
  }
  const of = (pick: (row: CallRow) => number): number => median(samples.map(pick));
  return {
    ...first,
    perSecond: of((row) => row.perSecond),
    answers: samples.reduce((sum, row) => sum + row.answers, 0),
    failures: samples.reduce((sum, row) => sum + row.failures, 0),
    firstFailure: samples.map((row) => row.firstFailure).find((text) => text !== null) ?? null,
    p50Ms: of((row) => row.p50Ms),
    p99Ms: of((row) => row.p99Ms),
    firstByteP50Ms: of((row) => row.firstByteP50Ms),
    firstByteP99Ms: of((row) => row.firstByteP99Ms),
    ownCpuMicroseconds: of((row) => row.ownCpuMicroseconds),
    cpuMicroseconds: of((row) => row.cpuMicroseconds),
  };
}
