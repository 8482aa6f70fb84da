/**
 * The only place that wires: configuration in, a running node out. What is started here is stopped
 * here, in the opposite order, also when starting fails half-way.
 */
import { openBuiltInPriceBook } from "./catalog/built-in.ts";
import { type Clock, sleep, systemClock, waitAtMost } from "./clock.ts";
import { build, type Config } from "./config.ts";
import { loadDashboardAssets } from "./dashboard/assets.ts";
import type { Sql } from "./database/client.ts";
import { type NodeConnections, openNodeConnections } from "./database/node-connections.ts";
import { requireCurrentSchema } from "./database/schema-check.ts";
import { cutBlockedStreams } from "./gateway/cut-blocked.ts";
import type { GatewayParts } from "./gateway/gateway-parts.ts";
import { serveGateway } from "./gateway/routes.ts";
import { RunningCalls } from "./gateway/running-calls.ts";
import { createAuthenticator } from "./keys/authenticate.ts";
import { listenForChanges } from "./keys/listen-for-changes.ts";
import { pollForChanges } from "./keys/poll-for-changes.ts";
import { deriveKeyHmacKey } from "./keys/token.ts";
import type { Log } from "./log.ts";
import { docsRoutes } from "./management/docs-page.ts";
import { createManagement } from "./management/management-api.ts";
import { createMetrics, type Metrics } from "./metrics.ts";
import { openNodeReport } from "./notifications/report-node.ts";
import { checkCanary, placeCanary } from "./operations/encryption-canary.ts";
import { refreshGauges } from "./operations/gauges.ts";
import { createHealth, type Health } from "./operations/health.ts";
import { type Heartbeat, startHeartbeat } from "./operations/heartbeat.ts";
import { serveMetrics } from "./operations/metrics-listener.ts";
import { nodeChecks } from "./operations/node-checks.ts";
import { claimNodeIdentity } from "./operations/node-identity.ts";
import { serveOperator } from "./operations/operator-socket.ts";
import { servePublic } from "./operations/public-listener.ts";
import { requireReady } from "./operations/readiness.ts";
import { prepareStateDirectory } from "./operations/state-directory.ts";
import { openAi } from "./providers/openai.ts";
import { expireOrphans } from "./reservations/expire.ts";
import { openSettlements } from "./reservations/settlements.ts";
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

const FLUSH_TIMEOUT_MS = 3_000;
const FLUSH_POLL_MS = 10;
const CLOSE_TIMEOUT_SECONDS = 2;
/** Well below the deadline of a hold, so that one missed beat loses nothing. */
const HEARTBEAT_MS = 30_000;
/** However busy a key is, its last use is written this often. */
const KEY_USES_MS = 60_000;

/** What every part is made of. `closers` run in the opposite order of their making. */
type Base = {
  readonly config: Config;
  readonly log: Log;
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly connections: NodeConnections;
  readonly sql: Sql;
  readonly closers: (() => unknown)[];
  readonly state: { isDraining: boolean };
};

type Opened = {
  readonly parts: GatewayParts;
  readonly spool: Spool;
  readonly left: readonly SpoolRecord[];
  readonly heartbeat: Heartbeat;
};

/** Starts a node. Rejects when database, schema, key, disk or addresses are not right. */
export async function startApp(config: Config, log: Log, clock: Clock = systemClock): Promise<App> {
  const connections = await openNodeConnections(
    config.databaseUrl.reveal(),
    config.databaseDirectUrl?.reveal() ?? null,
  );
  const base: Base = {
    config,
    log,
    clock,
    connections,
    sql: connections.reader,
    metrics: createMetrics(),
    closers: [() => connections.end(CLOSE_TIMEOUT_SECONDS)],
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
  const opened = await openGateway(base);
  const { parts } = opened;
  const checks = nodeChecks({
    sql,
    encryptionKey: config.encryptionKey,
    stateDirectory: config.stateDirectory,
    hasPrices: () => hasPrices(parts),
    isAccepting: () => !state.isDraining,
  });
  // The smoke check: nothing is served that a load balancer would take away at once.
  await requireReady(checks, clock);
  const health = createHealth({ clock, build, checks });
  closers.push(() => health.stop());
  const { url, metricsUrl } = await listen(base, opened, health);
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
  recover(base, opened, startedAt)
    .finally(() => opened.heartbeat.beat())
    .catch((error: unknown) => log.error("node.recovery_failed", { nodeId, error }));
  return {
    url,
    metricsUrl,
    stop: async () => {
      state.isDraining = true;
      log.info("node.draining", { nodeId, count: running.count });
      await waitAtMost(running.drained(), config.drainTimeoutMs);
      running.abortAll();
      await waitAtMost(running.drained(), FLUSH_TIMEOUT_MS);
      await closeAll(base);
      log.info("node.stopped", { nodeId, count: running.count });
    },
  };
}

async function openGateway(base: Base): Promise<Opened> {
  const { config, connections, sql, clock, log, metrics, closers, state } = base;
  const identity = await claimNodeIdentity(config.stateDirectory, clock.now());
  closers.push(() => identity.release());
  const { spool, left } = await Spool.open(config.stateDirectory, { log, metrics });
  closers.push(() => spool.close());
  const writer = new Writer({ openSql: connections.openWriter, spool, clock, log, metrics });
  closers.push(async () => {
    await waitAtMost(writer.drain(), FLUSH_TIMEOUT_MS);
    await writer.end(CLOSE_TIMEOUT_SECONDS);
  });
  const authenticator = await openKeys(base);
  const { nodeId } = identity;
  const reportNode = openNodeReport({ sql, log, clock, spool, nodeId });
  const heartbeat = startHeartbeat(HEARTBEAT_MS, log, () =>
    Promise.all([writer.beat(sql), reportNode()]),
  );
  closers.push(() => heartbeat.stop(FLUSH_TIMEOUT_MS));
  const providers = new Map([[openAi.id, openAi]]);
  const parts: GatewayParts = {
    sql,
    authenticator,
    priceBook: openBuiltInPriceBook([...providers.keys()]),
    providers,
    providerSecrets: config.providerSecrets,
    writer,
    running: new RunningCalls(metrics),
    drainLimits: config.disconnectDrain,
    clock,
    log,
    metrics,
    nodeId,
    isDraining: () => state.isDraining,
  };
  const cutting = cutBlockedStreams(parts);
  closers.push(() => waitAtMost(cutting.stop(), FLUSH_TIMEOUT_MS));
  return { parts, spool, left, heartbeat };
}

/** Knows keys, hears of their changes, and writes down when they were used. */
async function openKeys({ config, connections, sql, clock, log, closers }: Base) {
  const hmacKey = deriveKeyHmacKey(config.encryptionKey);
  const authenticator = createAuthenticator({ sql, clock, hmacKey });
  const { listener } = connections;
  const listening =
    listener === null
      ? pollForChanges(sql, authenticator, log)
      : await listenForChanges(listener, authenticator);
  // The connection may be gone or hang by then; it is closed with the others.
  closers.push(() =>
    waitAtMost(
      listening.stop().catch(() => {}),
      FLUSH_TIMEOUT_MS,
    ),
  );
  const writing = startHeartbeat(KEY_USES_MS, log, () => authenticator.uses.write(sql));
  closers.push(() => {
    writing.beat();
    return writing.stop(FLUSH_TIMEOUT_MS);
  });
  return authenticator;
}

/** Books what an earlier life of this node left: first its spool, then the holds without one. */
async function recover(
  { sql, clock, log }: Base,
  { parts: { writer, nodeId }, left }: Opened,
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
  { parts, spool }: Opened,
  health: Health,
): Promise<{ url: string; metricsUrl: string }> {
  const { config, sql, clock, log, metrics, closers } = base;
  const { writer, nodeId } = parts;
  const settlements = openSettlements({ sql, writer, spool, clock, nodeId });
  const operator = serveOperator(config.stateDirectory, settlements, log);
  closers.push(() => operator.stop());
  const management = createManagement({ sql, clock, log, settlements, config });
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
    refresh: async () => {
      spool.measure(clock.now());
      await refreshGauges(sql, metrics);
    },
  });
  closers.push(() => metricsServer.stop(true));
  return {
    url: `http://${reachable(config.listen.host)}:${server.port}`,
    metricsUrl: `http://${reachable(config.metricsListen.host)}:${metricsServer.port}`,
  };
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
