/**
 * `bun run bench`: measures reservations, whole calls, memory and a long ledger in one run on one
 * machine, with a real PostgreSQL that syncs to disk. What the numbers mean: docs/benchmarks.md.
 *
 * Everything runs on loopback in processes that this one starts and stops. Never sleeps without a
 * bound; a run takes about eleven minutes and is given up after twelve (`--quick`: about four).
 */
import { cpus, totalmem } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { DemoCompany } from "../../src/cli/demo-company.ts";
import type { LocalPostgres } from "../../src/operations/local-postgres.ts";
import { type CallRow, type Cell, chatBody, measureCell, runLoad, type Target } from "./calls.ts";
import { fillLedger } from "./ledger.ts";
import { measureAborts, measureSlowStreams } from "./memory.ts";
import { startPeers } from "./peers.ts";
import { markdownOf, type Results } from "./report.ts";
import { measureReservations } from "./reservations.ts";
import {
  type BenchDatabase,
  foundCompany,
  nodeCommand,
  openDatabase,
  type Program,
  postmasterId,
  root,
  startOwn,
  startPostgres,
  startSpendra,
  stopAll,
} from "./server.ts";

const HELP = `usage: bun run bench [--quick] [--only reservations|calls|streams|aborts|ledger]
  [--peers none|here] [--source] [--json FILE] [--write]

  --quick   about four minutes: shorter, fewer streams, one round
  --only    one part
  --peers   here: nginx and Portkey's gateway where they can be had (the default); none
  --source  measures src/main.ts even when dist/spendra was built
  --json    writes every number to a file
  --write   puts the tables between the marks of docs/benchmarks.md`;

const DOCUMENT = join(root, "docs", "benchmarks.md");
const MARKS = ["<!-- bench: begin -->", "<!-- bench: end -->"] as const;
/** The whole run is given up after this. */
const RUN_TIMEOUT_MS = 12 * 60_000;
const FILL_ROWS = 1_000_000;
/**
 * A database in use, not an hour-zero one: below some 20,000 rows the planner prefers to read whole
 * tables, and keeps to that plan until the next automatic analyze.
 */
const USED_ROWS = 50_000;

const { values: flags } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    only: { type: "string" },
    peers: { type: "string", default: "here" },
    source: { type: "boolean", default: false },
    json: { type: "string" },
    write: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

type Bench = {
  postgres: LocalPostgres;
  postmaster: number;
  spendra: readonly string[];
  results: Results;
};

type Running = {
  node: Program;
  upstream: Program;
  company: DemoCompany;
  database: BenchDatabase;
};

const parts = {
  reservations: runReservations,
  calls: runCalls,
  streams: runStreams,
  aborts: runAborts,
  ledger: runLedger,
};

function log(line: string): void {
  process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${line}\n`);
}

async function runReservations(bench: Bench): Promise<void> {
  const database = await openDatabase(bench.postgres, "bench_reservations", bench.spendra);
  const company = await foundCompany(database.sql, "http://127.0.0.1:1/v1");
  await fillLedger(database.sql, company, USED_ROWS);
  await settleStatistics(database);
  const durationMs = flags.quick ? 1_000 : 3_000;
  const place = { database, postmaster: bench.postmaster, durationMs };
  bench.results.reservations = await measureReservations(place, company, log);
}

async function runCalls(bench: Bench): Promise<void> {
  const running = await startRunning(bench, "bench_calls", 0);
  const targets = await startTargets(bench, running);
  const calls = bench.results.calls;
  const pace = { warmupMs: 400, durationMs: flags.quick ? 1_000 : 1_500 };
  for (const isStreaming of [false, true]) {
    for (const concurrency of [1, 16, 64, 256]) {
      const cell = { concurrency, isStreaming, upstreamDelayMs: 0 };
      calls.push(...(await measureCell(targets, cell, { ...pace, rounds: rounds() }, log)));
    }
  }
  const own = targets.filter(({ name }) => name === "Spendra");
  const full = calls.find((row) => row.target === "Spendra" && row.concurrency === 64);
  const open: Cell = {
    concurrency: 256,
    isStreaming: false,
    upstreamDelayMs: 0,
    perSecond: Math.round((full?.perSecond ?? 0) / 2),
  };
  log(`open loop at ${open.perSecond} a second, half of what the closed loop reached`);
  calls.push(...(await measureCell(own, open, { ...pace, rounds: rounds() }, log)));
  await stopRunning(running);
  await runSlowUpstream(bench, calls);
}

/** An upstream of 20 ms: the machine is not saturated, and added latency can be read. */
async function runSlowUpstream(bench: Bench, calls: CallRow[]): Promise<void> {
  const upstreamDelayMs = 20;
  const running = await startRunning(bench, "bench_slow_calls", upstreamDelayMs);
  const targets = await startTargets(bench, running);
  const pace = { warmupMs: 400, durationMs: flags.quick ? 1_000 : 2_000, rounds: 1 };
  for (const isStreaming of [false, true]) {
    for (const concurrency of [1, 16]) {
      const cell = { concurrency, isStreaming, upstreamDelayMs };
      calls.push(...(await measureCell(targets, cell, pace, log)));
    }
  }
  await stopRunning(running);
}

async function runStreams(bench: Bench): Promise<void> {
  const running = await startRunning(bench, "bench_streams", 0);
  const place = { ...running, token: running.company.token };
  const callers = flags.quick ? 200 : 2_000;
  const row = await measureSlowStreams(place, callers, flags.quick ? 8 : 15);
  log(`${row.load}: ${row.kibAStream.toFixed(0)} KiB a stream, ${row.failed} failed`);
  bench.results.memory.push(row);
  await stopRunning(running);
}

async function runAborts(bench: Bench): Promise<void> {
  const running = await startRunning(bench, "bench_aborts", 0);
  const place = { ...running, token: running.company.token };
  const row = await measureAborts(place, flags.quick ? 10_000 : 90_000);
  log(
    `${row.load}: ${row.beforeMib.toFixed(0)} → ${row.peakMib.toFixed(0)} → ` +
      `${row.afterMib.toFixed(0)} MiB, ${row.heldAfter} holds left`,
  );
  bench.results.memory.push(row);
  await stopRunning(running);
}

async function runLedger(bench: Bench): Promise<void> {
  const running = await startRunning(bench, "bench_ledger", 0);
  const { node, company, database } = running;
  const rows = flags.quick ? FILL_ROWS / 10 : FILL_ROWS;
  const order = {
    port: portOf(node),
    headers: { authorization: `Bearer ${company.token}` },
    body: chatBody(false),
    connections: 64,
    warmupMs: 500,
    durationMs: flags.quick ? 2_000 : 6_000,
  };
  for (const filled of [USED_ROWS, rows]) {
    if (filled > USED_ROWS) {
      log(`filling the ledger up to ${filled} entries`);
      await fillLedger(database.sql, company, filled, USED_ROWS);
      await settleStatistics(database);
    }
    const { perSecond, p50Ms, p99Ms } = await runLoad(order);
    log(`ledger of ${filled} entries: ${perSecond.toFixed(0)} calls/s`);
    bench.results.ledger.push({ rows: filled, perSecond, p50Ms, p99Ms });
  }
  await stopRunning(running);
}

/** A node that has served a few thousand calls, on tables whose statistics are known. */
async function startRunning(bench: Bench, name: string, delayMs: number): Promise<Running> {
  const upstream = await startOwn("direct", "upstream.ts", [`${delayMs}`]);
  const database = await openDatabase(bench.postgres, name, bench.spendra);
  const company = await foundCompany(database.sql, `${upstream.url}/v1`);
  await fillLedger(database.sql, company, USED_ROWS);
  await settleStatistics(database);
  const node = await startSpendra(bench.spendra, database.url);
  const running = { node, upstream, company, database };
  await runLoad({
    port: portOf(node),
    headers: { authorization: `Bearer ${company.token}` },
    body: chatBody(false),
    connections: 16,
    warmupMs: 0,
    durationMs: 2_500,
  });
  await settleStatistics(database);
  return running;
}

/** What autovacuum does within a table's first minute; a run would otherwise meet it half-way. */
async function settleStatistics({ sql }: BenchDatabase): Promise<void> {
  await sql`set statement_timeout = '120s'`;
  await sql`vacuum analyze`;
}

async function startTargets(bench: Bench, running: Running): Promise<Target[]> {
  const { node, upstream, company } = running;
  const plain = await startOwn("plain proxy", "plain-proxy.ts", [upstream.url]);
  const headers = { authorization: `Bearer ${company.token}` };
  const own = [upstream, plain, node].map(({ name, url, processId }) => ({
    name,
    port: Number(new URL(url).port),
    headers,
    canStream: true,
    processIds: name === "Spendra" ? [processId, bench.postmaster] : [processId],
  }));
  if (flags.peers === "none") {
    return own;
  }
  const { targets, skipped } = await startPeers(new URL(upstream.url), log);
  bench.results.skipped = skipped;
  return [...own, ...targets];
}

/** The other targets are stopped with everything else at the end; idle they cost nothing. */
async function stopRunning({ node, upstream }: Running): Promise<void> {
  await node.stop();
  await upstream.stop();
}

function portOf({ url }: Program): number {
  return Number(new URL(url).port);
}

function rounds(): number {
  return flags.quick ? 1 : 2;
}

async function write({ results }: Bench): Promise<void> {
  const markdown = markdownOf(results);
  process.stdout.write(markdown);
  if (flags.write) {
    const text = await Bun.file(DOCUMENT).text();
    const [begin, end] = MARKS.map((mark) => text.indexOf(mark));
    const head = text.slice(0, (begin ?? 0) + MARKS[0].length);
    await Bun.write(DOCUMENT, `${head}\n\n${markdown}\n${text.slice(end)}`);
    log(`wrote ${DOCUMENT}`);
  }
}

function machineName(): string {
  const gibibytes = Math.round(totalmem() / 2 ** 30);
  return `${cpus().length} × ${cpus()[0]?.model.trim()}, ${gibibytes} GiB`;
}

async function main(): Promise<number> {
  const chosen = Object.entries(parts).filter(([name]) => name === (flags.only ?? name));
  if (flags.help || chosen.length === 0) {
    process.stderr.write(`${HELP}\n`);
    return flags.help ? 0 : 2;
  }
  const startedMs = performance.now();
  const spendra = await nodeCommand({ isSource: flags.source });
  const postgres = await startPostgres();
  const results: Results = {
    machine: machineName(),
    measuredAt: new Date().toISOString().slice(0, 16),
    node: spendra.length === 1 ? "dist/spendra" : "from source",
    seconds: 0,
    reservations: [],
    calls: [],
    memory: [],
    ledger: [],
    skipped: [],
  };
  const bench = { postgres, postmaster: await postmasterId(postgres), spendra, results };
  for (const [name, run] of chosen) {
    log(`— ${name}`);
    await run(bench);
    results.seconds = Math.round((performance.now() - startedMs) / 1000);
    // After each part, so that a run that is given up leaves what it has measured.
    if (flags.json !== undefined) {
      await Bun.write(flags.json, `${JSON.stringify(results, null, 2)}\n`);
    }
  }
  await write(bench);
  return 0;
}

function exitStopped(code: number): void {
  const exit = (): never => process.exit(code);
  stopAll().then(exit, exit);
}

const giveUp = setTimeout(() => {
  log("the run takes too long and is given up");
  exitStopped(1);
}, RUN_TIMEOUT_MS);
process.once("SIGINT", () => {
  exitStopped(130);
});
let exitCode = 1;
try {
  exitCode = await main();
} finally {
  await stopAll();
  clearTimeout(giveUp);
}
process.exit(exitCode);
