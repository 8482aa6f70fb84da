/**
 * Thousands of calls through two nodes that are killed, on a PostgreSQL that is stopped, crashed
 * and frozen; then everything is healed and the books are held against the provider's.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type Sql } from "../../src/database/client.ts";
import { migrate } from "../../src/database/migrator.ts";
import { foundCompany } from "../node.ts";
import { waitUntil } from "../wait-until.ts";
import { type Call, makeCall } from "./caller.ts";
import { watchCaps } from "./cap-watch.ts";
import { type CountingProvider, serveAndCount } from "./counting-provider.ts";
import { disturb } from "./disturbances.ts";
import { DisturbedPostgres } from "./disturbed-postgres.ts";
import { type Random, randomOf } from "./random.ts";
import { SupervisedNode } from "./supervised-node.ts";
import { judge } from "./verdict.ts";

export type ChaosOptions = {
  calls: number;
  seed: number;
  /** The calls are spread over this time, as far as what goes wrong lets them. */
  durationMs: number;
  /** No call is begun after this; fewer calls than asked for is then a violation. */
  callsTimeoutMs: number;
  onProgress: (line: string) => void;
};

export type ChaosReport = {
  violations: string[];
  counts: Record<string, number>;
  disturbances: Record<string, number>;
};

type Stage = {
  postgres: DisturbedPostgres;
  provider: CountingProvider;
  nodes: SupervisedNode[];
  sql: Sql;
  token: string;
  directories: string[];
};

const NODES = 2;
const WORKERS = 24;
/** A caller that was refused waits a moment, so that an outage does not use up the calls. */
const PAUSE_MS = 50;
const PROGRESS_MS = 2_000;
const HEAL_TIMEOUT_MS = 60_000;
/** The last words of a program that fell, unlike those of one that could not start. */
const FALL = /\b[A-Z]\w*Error\b|unhandled|uncaught|panic|^\s+at /i;
const CAP_CHANGE_MS = 700;

export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const stage = await setUp(options.seed);
  try {
    const disturbances: Record<string, number> = {};
    const calls: Call[] = [];
    const state = { isOver: false };
    const started = performance.now();
    const say = () => options.onProgress(progressOf(calls, options.calls, started));
    const progress = setInterval(say, PROGRESS_MS);
    const scene = { ...stage, random: randomOf(options.seed) };
    const trouble = disturb(
      scene,
      () => state.isOver,
      (name) => {
        disturbances[name] = (disturbances[name] ?? 0) + 1;
        options.onProgress(`    ${name}`);
      },
    );
    const caps = changeCaps(stage, randomOf(options.seed + 1), () => state.isOver);
    await makeCalls(stage, options, calls);
    state.isOver = true;
    await Promise.all([trouble, caps]);
    clearInterval(progress);
    say();
    const left = await healAndWait(stage, options.onProgress);
    const { violations, counts } = await judge(stage.sql, calls, stage.provider.bills);
    if (calls.length < options.calls) violations.push(`only ${calls.length} calls were made`);
    if (left !== null) violations.unshift(left);
    violations.push(...(await wreckage(stage)));
    counts["starts of nodes"] = stage.nodes.reduce((sum, node) => sum + node.starts, 0);
    return { violations, counts, disturbances };
  } finally {
    await tearDown(stage);
  }
}

async function setUp(seed: number): Promise<Stage> {
  const postgres = await DisturbedPostgres.start();
  const sql = connect(postgres.url, { connectionsMax: 3, applicationName: "chaos" });
  await migrate(sql, { now: new Date() });
  const provider = await serveAndCount(seed);
  const { token } = await foundCompany(sql, provider.baseUrl, { teamCapUsd: "1" });
  await watchCaps(sql);
  const directories = await Promise.all(
    Array.from({ length: NODES }, () => mkdtemp(join(tmpdir(), "spendra-chaos-node-"))),
  );
  const nodes = directories.map((directory) => new SupervisedNode(postgres.url, directory));
  for (const node of nodes) node.start();
  await waitUntil("all nodes serve", () => nodes.every(({ url }) => url !== null), HEAL_TIMEOUT_MS);
  return { postgres, provider, nodes, sql, token, directories };
}

async function tearDown(stage: Stage): Promise<void> {
  await stage.postgres.heal();
  await Promise.all(stage.nodes.map((node) => node.stop()));
  await stage.sql.end({ timeout: 5 });
  await stage.provider.stop();
  await stage.postgres.remove();
  for (const path of stage.directories) await rm(path, { recursive: true, force: true });
}

/** Each worker makes one call after the other; a call that reaches no node does not count. */
async function makeCalls(stage: Stage, options: ChaosOptions, calls: Call[]): Promise<void> {
  const startMs = performance.now();
  const endMs = startMs + options.callsTimeoutMs;
  const isDue = () => performance.now() - startMs >= (nextNo / options.calls) * options.durationMs;
  let nextNo = 1;
  const work = async (worker: number) => {
    while (nextNo <= options.calls && performance.now() < endMs) {
      const node = stage.nodes[(worker + nextNo) % NODES];
      const url = node?.url ?? null;
      if (url === null || !isDue()) {
        await Bun.sleep(PAUSE_MS);
        continue;
      }
      const call: Call = { callNo: nextNo++, end: { kind: "broken" } };
      calls.push(call);
      call.end = await makeCall(call.callNo, url, stage.token, options.seed);
      if (call.end.kind === "answered" || call.end.kind === "broken") await Bun.sleep(PAUSE_MS);
    }
  };
  await Promise.all(Array.from({ length: WORKERS }, (_, worker) => work(worker)));
}

/** The team's cap goes up and down around what is spent, so that it is always near. */
async function changeCaps({ sql }: Stage, random: Random, isOver: () => boolean): Promise<void> {
  while (!isOver()) {
    await Bun.sleep(CAP_CHANGE_MS);
    const allowance = BigInt(random.between(0, 60)) * 1_000_000n;
    await sql`
      update budgets b
      set amount_nano_usd = ${allowance} + coalesce((
        select sum(w.settled_nano_usd + w.held_nano_usd)
        from budget_windows w
        where w.organization_id = b.organization_id and w.budget_id = b.id
      ), 0)::bigint
      where scope_kind = 'team'
    `.catch(() => {
      // PostgreSQL is away; the next round comes soon.
    });
  }
}

/** Answers what did not heal in time, or null. */
async function healAndWait(
  { nodes, sql }: Stage,
  onProgress: (line: string) => void,
): Promise<string | null> {
  await waitUntil("all nodes serve", () => nodes.every(({ url }) => url !== null), HEAL_TIMEOUT_MS);
  try {
    await waitUntil(
      "all spools are empty",
      async () => {
        const kept = await Promise.all(nodes.map((node) => node.keptBytes()));
        return kept.every(({ spool }) => spool === 0);
      },
      HEAL_TIMEOUT_MS,
    );
    // Running calls end by themselves; what is held after that has lost its process.
    const isFree = async () => (await heldCount(sql)) === 0;
    await waitUntil("nothing is held", isFree, 6_000).catch(async () => {
      onProgress(`    ${await heldCount(sql)} holds have lost their process: their time runs out`);
      await sql`
        update reservations set deadline_at = now() - interval '1 second' where status = 'held'
      `;
      await waitUntil("the sweeper has ended them", isFree, HEAL_TIMEOUT_MS);
    });
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

async function heldCount(sql: Sql): Promise<number> {
  const [row] = await sql<[{ count: number }]>`
    select count(*)::int as count from reservations where status = 'held'
  `;
  return row.count;
}

/** What only an operator would find later. */
async function wreckage({ nodes, postgres }: Stage): Promise<string[]> {
  const found: string[] = [];
  for (const node of nodes) {
    const { deadLetters } = await node.keptBytes();
    if (deadLetters > 0) {
      found.push(`dead letters: ${(await node.readDeadLetters()).slice(0, 2_000)}`);
    }
    const words = node.strange.filter((line) => FALL.test(line)).join(" | ");
    if (words !== "") found.push(`a node said: ${words.slice(0, 2_000)}`);
  }
  await postgres.stop("fast");
  if (postgres.deadlocks > 0) found.push(`${postgres.deadlocks} deadlocks`);
  return found;
}

function progressOf(calls: readonly Call[], wanted: number, startedMs: number): string {
  const counts = { delivered: 0, answered: 0, broken: 0, left: 0 };
  for (const { end } of calls) counts[end.kind]++;
  const seconds = Math.round((performance.now() - startedMs) / 1_000);
  return (
    `${`${seconds}`.padStart(4)} s  ${calls.length} of ${wanted} calls: ${counts.delivered} ` +
    `delivered, ${counts.answered} refused, ${counts.broken} broken, ${counts.left} left`
  );
}
