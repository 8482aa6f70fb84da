/**
 * The only place that wires: configuration in, a running node out. What is started here is stopped
 * here, in the opposite order, also when starting fails half-way.
 */
import { openBuiltInPriceBook } from "./catalog/built-in.ts";
import { type Clock, sleep, systemClock, waitAtMost } from "./clock.ts";
import { build, type Config } from "./config.ts";
import { loadDashboardAssets } from "./dashboard/assets.ts";
import { connect, type Sql } from "./database/client.ts";
import { requireCurrentSchema } from "./database/schema-check.ts";
import type { GatewayParts } from "./gateway/gateway-parts.ts";
import { serveGateway } from "./gateway/routes.ts";
import { RunningCalls } from "./gateway/running-calls.ts";
import { createAuthenticator } from "./keys/authenticate.ts";
import { listenForChanges } from "./keys/listen-for-changes.ts";
import { deriveKeyHmacKey } from "./keys/token.ts";
import type { Log } from "./log.ts";
import { docsRoutes } from "./management/docs-page.ts";
import { createManagement } from "./management/management-api.ts";
import { createMetrics, type Metrics } from "./metrics.ts";
import { checkCanary, placeCanary } from "./operations/encryption-canary.ts";
import { refreshGauges } from "./operations/gauges.ts";
import { createHealth, type Health } from "./operations/health.ts";
import { serveMetrics } from "./operations/metrics-listener.ts";
import { claimNodeIdentity } from "./operations/node-identity.ts";
import { servePublic } from "./operations/public-listener.ts";
import { type ReadinessCheck, requireReady } from "./operations/readiness.ts";
import { checkStateDirectory, prepareStateDirectory } from "./operations/state-directory.ts";
import { openAi } from "./providers/openai.ts";
import { expireOrphans } from "./reservations/expire.ts";
import { Spool, type SpoolRecord } from "./reservations/spool.ts";
import { Writer } from "./reservations/writer.ts";
import { jobs } from "./scheduler/job-table.ts";
import { startScheduler } from "./scheduler/scheduler.ts";

export type App = {
  /** Where the public listener can be reached from this machine. */
  readonly url: string;
  readonly metricsUrl: string;
  /** Takes no new calls, lets running ones finish and settle, closes everything. */
  stop(): Promise<void>;
};

const READER_CONNECTIONS_MAX = 6;
const WRITER_STATEMENT_TIMEOUT_MS = 5_000;
const FLUSH_TIMEOUT_MS = 3_000;
const FLUSH_POLL_MS = 10;
const CLOSE_TIMEOUT_SECONDS = 2;
const CHECK_TIMEOUT_MS = 250;
const SCHEMA_CHECK_TIMEOUT_MS = 750;
/** Well below the deadline of a hold, so that one missed beat loses nothing. */
const HEARTBEAT_MS = 30_000;

/** What every part is made of. `closers` run in the opposite order of their making. */
type Base = {
  readonly config: Config;
  readonly log: Log;
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly sql: Sql;
  readonly closers: (() => unknown)[];
  readonly state: { isDraining: boolean };
};

type Opened = { readonly parts: GatewayParts; readonly left: readonly SpoolRecord[] };

/** Starts a node. Rejects when database, schema, key, disk or addresses are not right. */
export async function startApp(config: Config, log: Log, clock: Clock = systemClock): Promise<App> {
  const sql = openReader(config);
  const base: Base = {
    config,
    log,
    clock,
    sql,
    metrics: createMetrics(),
    closers: [() => sql.end({ timeout: CLOSE_TIMEOUT_SECONDS })],
    state: { isDraining: false },
  };
  try {
    return await startNode(base);
  } catch (error) {
    await closeAll(base);
    throw error;
  }
}

async function startNode(base: Base): Promise<App> {
  const { config, sql, clock, log, metrics, closers, state } = base;
  const startedAt = clock.now();
  await prepareStateDirectory(config.stateDirectory);
  await requireCurrentSchema(sql);
  await placeCanary(sql, config.encryptionKey, startedAt);
  await checkCanary(sql, config.encryptionKey);
  const { parts, left } = await openGateway(base);
  const checks = checksOf(base, parts);
  // The smoke check: nothing is served that a load balancer would take away at once.
  await requireReady(checks, clock);
  const health = createHealth({ clock, build, checks });
  closers.push(() => health.stop());
  const { url, metricsUrl } = await listen(base, parts, health);
  const { nodeId, running } = parts;
  const jobParts = { sql, writer: parts.writer, clock, log };
  const scheduler = startScheduler({ jobs, parts: jobParts, nodeId, log, metrics });
  // A job may hang with the database; the next slot runs on whatever node is there.
  closers.push(() => waitAtMost(scheduler.stop(), FLUSH_TIMEOUT_MS));
  log.info("node.started", {
    nodeId,
    address: url,
    metricsAddress: metricsUrl,
    version: build.version,
  });
  recover(base, parts, left, startedAt).catch((error: unknown) => {
    log.error("node.recovery_failed", { nodeId, error });
  });
  return {
    url,
    metricsUrl,
    stop: async () => {
      state.isDraining = true;
      log.info("node.draining", { nodeId, count: running.count });
      await waitAtMost(running.drained(), config.drainTimeoutMs);
      running.cutAll();
      await waitAtMost(running.drained(), FLUSH_TIMEOUT_MS);
      await closeAll(base);
      log.info("node.stopped", { nodeId, count: running.count });
    },
  };
}

async function openGateway(base: Base): Promise<Opened> {
  const { config, sql, clock, log, metrics, closers, state } = base;
  const identity = await claimNodeIdentity(config.stateDirectory, clock.now());
  closers.push(() => identity.release());
  const { spool, left } = await Spool.open(config.stateDirectory, { log, metrics });
  closers.push(() => spool.close());
  const writer = new Writer({ openSql: () => openWriterSql(config), spool, clock, log, metrics });
  closers.push(async () => {
    await waitAtMost(writer.drain(), FLUSH_TIMEOUT_MS);
    await writer.end(CLOSE_TIMEOUT_SECONDS);
  });
  const hmacKey = deriveKeyHmacKey(config.encryptionKey);
  const authenticator = createAuthenticator({ sql, clock, hmacKey });
  const listening = await listenForChanges(sql, authenticator);
  // The connection may be gone or hang by then; it is closed with the others.
  closers.push(() =>
    waitAtMost(
      listening.stop().catch(() => {}),
      FLUSH_TIMEOUT_MS,
    ),
  );
  const heartbeat = setInterval(() => {
    writer.beat(sql).catch((error: unknown) => log.warn("node.heartbeat_failed", { error }));
  }, HEARTBEAT_MS);
  closers.push(() => clearInterval(heartbeat));
  const providers = new Map([[openAi.id, openAi]]);
  const parts: GatewayParts = {
    sql,
    authenticator,
    priceBook: openBuiltInPriceBook([...providers.keys()]),
    providers,
    providerSecrets: config.providerSecrets,
    writer,
    running: new RunningCalls(metrics),
    clock,
    log,
    metrics,
    nodeId: identity.nodeId,
    isDraining: () => state.isDraining,
  };
  return { parts, left };
}

/** Books what an earlier life of this node left: first its spool, then the holds without one. */
async function recover(
  { sql, clock, log }: Base,
  { writer, nodeId }: GatewayParts,
  left: readonly SpoolRecord[],
  startedAt: Date,
): Promise<void> {
  await writer.replay(left);
  const orphans = await expireOrphans(sql, writer, clock, { id: nodeId, startedAt });
  if (left.length > 0 || orphans > 0) {
    log.warn("node.recovered", { nodeId, count: left.length + orphans });
  }
}

async function listen(
  base: Base,
  parts: GatewayParts,
  health: Health,
): Promise<{ url: string; metricsUrl: string }> {
  const { config, sql, clock, log, metrics, closers } = base;
  const management = createManagement({ sql, clock, log, config });
  const server = servePublic({
    listen: config.listen,
    log,
    health,
    inference: (request) => serveGateway(request, parts),
    management: (request, clientAddress) => management.handle(request, clientAddress),
    openApiDocument: () => management.openApiDocument(),
    pages: docsRoutes(),
    assets: await loadDashboardAssets(),
  });
  closers.push(async () => {
    await flushed(server);
    await server.stop(true);
  });
  const metricsServer = serveMetrics({
    listen: config.metricsListen,
    bearerToken: config.metricsBearerToken,
    registry: metrics.registry,
    refresh: () => refreshGauges(sql, metrics),
  });
  closers.push(() => metricsServer.stop(true));
  return {
    url: `http://${reachable(config.listen.host)}:${server.port}`,
    metricsUrl: `http://${reachable(config.metricsListen.host)}:${metricsServer.port}`,
  };
}

function openReader(config: Config): Sql {
  return connect(config.databaseUrl.reveal(), {
    connectionsMax: READER_CONNECTIONS_MAX,
    applicationName: "spendra",
  });
}

function openWriterSql(config: Config): Sql {
  return connect(config.databaseUrl.reveal(), {
    // A second writer on the same rows bought nothing and tripled the 99th percentile.
    connectionsMax: 1,
    applicationName: "spendra writer",
    statementTimeoutMs: WRITER_STATEMENT_TIMEOUT_MS,
  });
}

async function closeAll({ closers, log }: Base): Promise<void> {
  for (const close of closers.reverse()) {
    try {
      await close();
    } catch (error) {
      log.warn("node.close_failed", { error });
    }
  }
}

/** R3: each is broken by one thing only, and named in the answer. */
function checksOf({ config, sql, state }: Base, parts: GatewayParts): readonly ReadinessCheck[] {
  const { encryptionKey, stateDirectory } = config;
  const isReachable = async () => {
    await sql`select 1`;
  };
  return [
    check("database", CHECK_TIMEOUT_MS, isReachable),
    check("schema", SCHEMA_CHECK_TIMEOUT_MS, () => requireCurrentSchema(sql), "database"),
    check("encryption_key", CHECK_TIMEOUT_MS, () => checkCanary(sql, encryptionKey), "database"),
    check("price_book", CHECK_TIMEOUT_MS, () => requireThat(hasPrices(parts))),
    check("state_directory", CHECK_TIMEOUT_MS, () => checkStateDirectory(stateDirectory)),
    check("accepting", CHECK_TIMEOUT_MS, () => requireThat(!state.isDraining)),
  ];
}

function check(
  name: string,
  timeoutMs: number,
  run: () => Promise<void>,
  needs?: string,
): ReadinessCheck {
  return needs === undefined ? { name, timeoutMs, run } : { name, timeoutMs, run, needs };
}

function requireThat(holds: boolean): Promise<void> {
  return holds ? Promise.resolve() : Promise.reject(new Error("the condition does not hold"));
}

function hasPrices(parts: GatewayParts): boolean {
  return [...parts.providers.keys()].every((id) => parts.priceBook.modelsOf(id).length > 0);
}

/** A call is settled a moment before its last bytes are on the wire. */
async function flushed(server: Bun.Server<undefined>): Promise<void> {
  const attempts = FLUSH_TIMEOUT_MS / FLUSH_POLL_MS;
  for (let attempt = 0; attempt < attempts && server.pendingRequests > 0; attempt++) {
    await sleep(FLUSH_POLL_MS);
  }
}

function reachable(host: string): string {
  const isEverywhere = host === "0.0.0.0" || host === "::";
  return isEverywhere ? "127.0.0.1" : host.includes(":") ? `[${host}]` : host;
}
