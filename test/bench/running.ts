/** A node in front of its upstream and a database in use, and the servers beside it. */
import type { DemoCompany } from "../../src/cli/demo-company.ts";
import type { LocalPostgres } from "../../src/operations/local-postgres.ts";
import { chatBody, runLoad, type Target } from "./calls.ts";
import { fillLedger } from "./ledger.ts";
import type { Options } from "./options.ts";
import { type Peer, startPeers } from "./peers.ts";
import type { Progress } from "./progress.ts";
import type { Results } from "./report.ts";
import {
  type BenchDatabase,
  foundCompany,
  openDatabase,
  type Program,
  startOwn,
  startSpendra,
} from "./server.ts";

export type Bench = {
  options: Options;
  progress: Progress;
  postgres: LocalPostgres;
  postmaster: number;
  spendra: readonly string[];
  results: Results;
};

export type Running = {
  node: Program;
  upstream: Program;
  company: DemoCompany;
  database: BenchDatabase;
};

/** A database in use, not an hour-zero one: its tables and indexes have some depth. */
export const USED_ROWS = 50_000;
const USED_DAYS = 1;

/** A node that has served a few thousand calls, on tables whose statistics are known. */
export async function startRunning(
  bench: Bench,
  name: string,
  options: { upstreamDelayMs?: number; rows?: number; days?: number } = {},
): Promise<Running> {
  const upstream = await startOwn("direct", "upstream.ts", [`${options.upstreamDelayMs ?? 0}`]);
  const { database, company } = await openUsed(bench, name, { ...options, upstream });
  const node = await startSpendra(bench.spendra, database.url);
  await runLoad({
    port: portOf(node),
    headers: { authorization: `Bearer ${company.token}` },
    body: chatBody(false),
    connections: 16,
    warmupMs: 0,
    durationMs: 2_500,
  });
  await settleStatistics(database);
  return { node, upstream, company, database };
}

/** A database with so many settled calls, and nobody on it. */
export async function openUsed(
  bench: Bench,
  name: string,
  options: { upstream?: Program; rows?: number; days?: number } = {},
): Promise<{ database: BenchDatabase; company: DemoCompany }> {
  const { rows = USED_ROWS, days = USED_DAYS, upstream } = options;
  const database = await openDatabase(bench.postgres, name, bench.spendra);
  const company = await foundCompany(database.sql, `${upstream?.url ?? "http://127.0.0.1:1"}/v1`);
  if (rows > 0) {
    await fillLedger(database.sql, company, {
      rows,
      days,
      log: (line) => bench.progress.log(line),
    });
  }
  await settleStatistics(database);
  return { database, company };
}

/** What autovacuum does within a table's first minute; a run would otherwise meet it half-way. */
async function settleStatistics({ sql }: BenchDatabase): Promise<void> {
  const connection = await sql.reserve();
  try {
    await connection`set statement_timeout = 0`;
    await connection`vacuum analyze`;
    await connection`checkpoint`;
    await connection`reset statement_timeout`;
  } finally {
    connection.release();
  }
}

/** The plain proxy, the node and the peers, and the upstream itself. */
export async function startTargets(
  bench: Bench,
  running: Running,
): Promise<{ targets: Target[]; stop: () => Promise<void> }> {
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
  const log = (line: string): void => bench.progress.log(line);
  const { peers, skipped } = await startPeers(bench.options.peers, new URL(upstream.url), log);
  bench.results.skipped = skipped;
  return {
    targets: [...own, ...peers.map(({ target }: Peer) => target)],
    stop: async () => {
      await Promise.all([plain.stop(), ...peers.map(({ program }) => program.stop())]);
    },
  };
}

export async function stopRunning({ node, upstream }: Running): Promise<void> {
  await node.stop();
  await upstream.stop();
}

export function portOf({ url }: Program): number {
  return Number(new URL(url).port);
}
