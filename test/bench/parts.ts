/** The parts of a run, in their order: each opens a database of its own and adds to the results. */
import { type CallRow, type Cell, chatBody, measureCell, runLoad, warmUp } from "./calls.ts";
import { median } from "./measure.ts";
import { measureAborts, measureSlowStreams } from "./memory.ts";
import type { PartName } from "./options.ts";
import { measureReplay } from "./replay.ts";
import { measureReservations } from "./reservations.ts";
import {
  type Bench,
  openUsed,
  portOf,
  type Running,
  startRunning,
  startTargets,
  stopRunning,
} from "./running.ts";

/** How the settled calls of the long ledger are spread. */
const LONG_DAYS = 180;
const LEDGER_WAITING = 64;

export const parts: Record<PartName, (bench: Bench) => Promise<void>> = {
  reservations: runReservations,
  replay: runReplay,
  calls: runCalls,
  streams: runStreams,
  aborts: runAborts,
  ledger: runLedger,
};

async function runReservations(bench: Bench): Promise<void> {
  const { database, company } = await openUsed(bench, "bench_reservations");
  const durationMs = bench.options.isQuick ? 1_000 : 2_500;
  const place = { database, postmaster: bench.postmaster, durationMs };
  bench.results.reservations = await measureReservations(place, company, (line) =>
    bench.progress.log(line),
  );
}

async function runReplay(bench: Bench): Promise<void> {
  const { database, company } = await openUsed(bench, "bench_replay");
  const records = bench.options.isQuick ? 10_000 : 60_000;
  bench.progress.log(`leaving ${records} records in a spool`);
  const row = await measureReplay({ database, postmaster: bench.postmaster }, company, records);
  bench.progress.log(`replayed in ${row.seconds.toFixed(1)} s, ${row.perSecond.toFixed(0)}/s`);
  bench.results.replay.push(row);
}

async function runCalls(bench: Bench): Promise<void> {
  const { calls } = bench.results;
  const log = (line: string): void => bench.progress.log(line);
  const running = await startRunning(bench, "bench_calls");
  const { targets, stop } = await startTargets(bench, running);
  log("warming up");
  await warmUp(targets, warmupMs(bench));
  const pace = { warmupMs: 300, durationMs: bench.options.isQuick ? 600 : 1_200 };
  const rounds = bench.options.isQuick ? 1 : 2;
  for (const isStreaming of [false, true]) {
    for (const concurrency of [1, 16, 64, 256]) {
      const cell = { concurrency, isStreaming, upstreamDelayMs: 0 };
      calls.push(...(await measureCell(targets, cell, { ...pace, rounds }, log)));
    }
  }
  await stop();
  const own = targets.filter(({ name }) => name === "Spendra");
  const full = calls.find((row) => row.target === "Spendra" && row.concurrency === 64);
  const open: Cell = {
    concurrency: 256,
    isStreaming: false,
    upstreamDelayMs: 0,
    perSecond: Math.round((full?.perSecond ?? 0) / 2),
  };
  log(`open loop at ${open.perSecond} a second, half of what the closed loop reached`);
  calls.push(...(await measureCell(own, open, { ...pace, rounds }, log)));
  await stopRunning(running);
  await runSlowUpstream(bench, calls);
}

/** Of each server, whole and streaming. */
function warmupMs({ options }: Bench): number {
  return options.isQuick ? 1_000 : 4_000;
}

/** An upstream of 20 ms: the machine is not saturated, and added latency can be read. */
async function runSlowUpstream(bench: Bench, calls: CallRow[]): Promise<void> {
  const upstreamDelayMs = 20;
  const running = await startRunning(bench, "bench_slow_calls", { upstreamDelayMs });
  const { targets, stop } = await startTargets(bench, running);
  bench.progress.log("warming up");
  await warmUp(targets, warmupMs(bench));
  for (const isStreaming of [false, true]) {
    for (const concurrency of [1, 16]) {
      // Forty calls a second at one at a time: a percentile needs more of them.
      const fullMs = concurrency === 1 ? 3_000 : 1_500;
      const durationMs = bench.options.isQuick ? 800 : fullMs;
      const pace = { warmupMs: 300, durationMs, rounds: 1 };
      const cell = { concurrency, isStreaming, upstreamDelayMs };
      calls.push(...(await measureCell(targets, cell, pace, (line) => bench.progress.log(line))));
    }
  }
  await stop();
  await stopRunning(running);
}

async function runStreams(bench: Bench): Promise<void> {
  const { isQuick } = bench.options;
  const running = await startRunning(bench, "bench_streams");
  const place = { ...running, token: running.company.token };
  const row = await measureSlowStreams(place, isQuick ? 200 : 2_000, isQuick ? 8 : 15);
  bench.progress.log(`${row.load}: ${row.kibAStream.toFixed(0)} KiB each, ${row.failed} failed`);
  bench.results.memory.push(row);
  await stopRunning(running);
}

async function runAborts(bench: Bench): Promise<void> {
  const running = await startRunning(bench, "bench_aborts");
  const place = { ...running, token: running.company.token };
  const row = await measureAborts(place, bench.options.abortsMs);
  const mebibytes = [row.beforeMib, row.duringMib, row.peakMib, row.afterMib].map(Math.round);
  bench.progress.log(`${row.load}: ${mebibytes.join(" → ")} MiB, ${row.heldAfter} holds left`);
  bench.results.memory.push(row);
  await stopRunning(running);
}

/** An empty book and a long one, in turn, so that a busy neighbour disturbs both. */
async function runLedger(bench: Bench): Promise<void> {
  const { rows, isQuick } = bench.options;
  const rounds = isQuick ? 1 : 2;
  bench.progress.log(`filling a ledger with ${rows} entries`);
  const long = await startRunning(bench, "bench_long", { rows, days: LONG_DAYS });
  const empty = await startRunning(bench, "bench_empty", { rows: 0 });
  const books = [
    { running: empty, rows: 0, samples: [] as Sample[] },
    { running: long, rows, samples: [] as Sample[] },
  ];
  for (let round = 0; round < rounds; round++) {
    // Forth and back: a machine that grows slower by the minute is to nobody's disadvantage.
    for (const book of round % 2 === 0 ? books : books.toReversed()) {
      const sample = await measureBook(bench, book.running);
      bench.progress.log(`${book.rows} entries: ${sample.perSecond.toFixed(0)} calls/s`);
      book.samples.push(sample);
    }
  }
  for (const { rows: entries, samples, running } of books) {
    const of = (pick: (sample: Sample) => number): number => median(samples.map(pick));
    bench.results.ledger.push({
      rows: entries,
      perSecond: of((sample) => sample.perSecond),
      p50Ms: of((sample) => sample.p50Ms),
      p99Ms: of((sample) => sample.p99Ms),
    });
    await stopRunning(running);
  }
}

type Sample = { perSecond: number; p50Ms: number; p99Ms: number };

async function measureBook(bench: Bench, { node, company }: Running): Promise<Sample> {
  return await runLoad({
    port: portOf(node),
    headers: { authorization: `Bearer ${company.token}` },
    body: chatBody(false),
    connections: LEDGER_WAITING,
    warmupMs: 500,
    durationMs: bench.options.isQuick ? 2_000 : 5_000,
  });
}
