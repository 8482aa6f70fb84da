/**
 * The only place that wires: configuration in, a running node out. What is started here is stopped
 * here, in the opposite order.
 */
import { openBuiltInPriceBook } from "./catalog/built-in.ts";
import { type Clock, sleep, systemClock } from "./clock.ts";
import { build, type Config } from "./config.ts";
import { type DashboardAsset, loadDashboardAssets } from "./dashboard/assets.ts";
import { connect, type Sql } from "./database/client.ts";
import { requireCurrentSchema } from "./database/schema-check.ts";
import type { GatewayParts } from "./gateway/gateway-parts.ts";
import { serveGateway } from "./gateway/routes.ts";
import { RunningCalls } from "./gateway/running-calls.ts";
import { newId } from "./id.ts";
import { createAuthenticator } from "./keys/authenticate.ts";
import { listenForChanges } from "./keys/listen-for-changes.ts";
import { deriveKeyHmacKey } from "./keys/token.ts";
import type { Log } from "./log.ts";
import { docsRoutes } from "./management/docs-page.ts";
import { createManagement, type Management } from "./management/management-api.ts";
import { createMetrics, type Metrics } from "./metrics.ts";
import { countWaiting } from "./notifications/outbox.ts";
import { checkCanary, placeCanary } from "./operations/encryption-canary.ts";
import { createHealth, type Health } from "./operations/health.ts";
import { serveMetrics } from "./operations/metrics-listener.ts";
import type { ReadinessCheck } from "./operations/readiness.ts";
import { checkStateDirectory, prepareStateDirectory } from "./operations/state-directory.ts";
import { openAi } from "./providers/openai.ts";
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
/** A second writer on the same rows bought nothing and tripled the 99th percentile. */
const WRITER_CONNECTIONS_MAX = 1;
const WRITER_STATEMENT_TIMEOUT_MS = 5_000;
const FLUSH_TIMEOUT_MS = 5_000;
const FLUSH_POLL_MS = 10;
const CLOSE_TIMEOUT_SECONDS = 5;
const CHECK_TIMEOUT_MS = 250;
const SCHEMA_CHECK_TIMEOUT_MS = 750;
/** Above our own limit: the route refuses a large body in the caller's dialect. */
const LISTENER_BODY_BYTES_MAX = 1024 * 1024 * 1024;
/** The most that Bun allows; inference requests switch it off for themselves. */
const IDLE_TIMEOUT_SECONDS = 255;

type Databases = { readonly sql: Sql; readonly writerSql: Sql };
type State = { isDraining: boolean };

/** Starts a node. Rejects when database, schema, key or addresses are not right. */
export async function startApp(config: Config, log: Log, clock: Clock = systemClock): Promise<App> {
  const databases = openDatabases(config);
  try {
    return await startNode(config, databases, log, clock);
  } catch (error) {
    await closeDatabases(databases);
    throw error;
  }
}

async function startNode(
  config: Config,
  databases: Databases,
  log: Log,
  clock: Clock,
): Promise<App> {
  const { sql } = databases;
  await prepareStateDirectory(config.stateDirectory);
  await requireCurrentSchema(sql);
  await placeCanary(sql, config.encryptionKey, clock.now());
  await checkCanary(sql, config.encryptionKey);
  const metrics = createMetrics();
  const state: State = { isDraining: false };
  const parts = openGateway(config, databases, state, { log, clock, metrics });
  const listening = await listenForChanges(sql, parts.authenticator);
  const health = createHealth({ clock, build, checks: checksOf(config, sql, parts, state) });
  const management = createManagement({ sql, clock, log, config });
  const server = await servePublic(config, parts, health, management);
  const metricsServer = serveMetrics({
    listen: config.metricsListen,
    bearerToken: config.metricsBearerToken,
    registry: metrics.registry,
    refresh: () => refreshGauges(sql, metrics),
  });
  const jobParts = { sql, writer: parts.writer, clock };
  const scheduler = startScheduler({ jobs, parts: jobParts, nodeId: parts.nodeId, log, metrics });
  const url = `http://${reachable(config.listen.host)}:${server.port}`;
  log.info("node.started", { nodeId: parts.nodeId, address: url, version: build.version });

  async function stop(): Promise<void> {
    state.isDraining = true;
    log.info("node.draining", { nodeId: parts.nodeId, count: parts.running.count });
    await scheduler.stop();
    await Promise.race([parts.running.drained(), sleep(config.drainTimeoutMs)]);
    await flushed(server);
    await server.stop(true);
    await Promise.race([parts.writer.drain(), sleep(FLUSH_TIMEOUT_MS)]);
    await metricsServer.stop(true);
    health.stop();
    await listening.stop().catch(() => {
      // The connection may be gone already; it is closed with the others.
    });
    await closeDatabases(databases);
    log.info("node.stopped", { nodeId: parts.nodeId, count: parts.running.count });
  }

  return { url, metricsUrl: `http://${config.metricsListen.host}:${metricsServer.port}`, stop };
}

function openDatabases(config: Config): Databases {
  const databaseUrl = config.databaseUrl.reveal();
  return {
    sql: connect(databaseUrl, {
      connectionsMax: READER_CONNECTIONS_MAX,
      applicationName: "spendra",
    }),
    writerSql: connect(databaseUrl, {
      connectionsMax: WRITER_CONNECTIONS_MAX,
      applicationName: "spendra writer",
      statementTimeoutMs: WRITER_STATEMENT_TIMEOUT_MS,
    }),
  };
}

async function closeDatabases({ sql, writerSql }: Databases): Promise<void> {
  await Promise.all([
    sql.end({ timeout: CLOSE_TIMEOUT_SECONDS }),
    writerSql.end({ timeout: CLOSE_TIMEOUT_SECONDS }),
  ]);
}

function openGateway(
  config: Config,
  { sql, writerSql }: Databases,
  state: State,
  tools: { log: Log; clock: Clock; metrics: Metrics },
): GatewayParts {
  const hmacKey = deriveKeyHmacKey(config.encryptionKey);
  const providers = new Map([[openAi.id, openAi]]);
  return {
    ...tools,
    authenticator: createAuthenticator({ sql, clock: tools.clock, hmacKey }),
    priceBook: openBuiltInPriceBook([...providers.keys()]),
    providers,
    providerSecrets: config.providerSecrets,
    writer: new Writer({ sql: writerSql, ...tools }),
    running: new RunningCalls(tools.metrics),
    nodeId: newId("node", tools.clock.now()),
    isDraining: () => state.isDraining,
  };
}

/** R3: each is broken by one thing only, and named in the answer. */
function checksOf(
  config: Config,
  sql: Sql,
  parts: GatewayParts,
  state: State,
): readonly ReadinessCheck[] {
  return [
    check("database", CHECK_TIMEOUT_MS, async () => {
      await sql`select 1`;
    }),
    check("schema", SCHEMA_CHECK_TIMEOUT_MS, () => requireCurrentSchema(sql)),
    check("encryption_key", CHECK_TIMEOUT_MS, () => checkCanary(sql, config.encryptionKey)),
    check("price_book", CHECK_TIMEOUT_MS, () => requireThat(hasPrices(parts))),
    check("state_directory", CHECK_TIMEOUT_MS, () => checkStateDirectory(config.stateDirectory)),
    check("accepting", CHECK_TIMEOUT_MS, () => requireThat(!state.isDraining)),
  ];
}

function check(name: string, timeoutMs: number, run: () => Promise<void>): ReadinessCheck {
  return { name, timeoutMs, run };
}

function requireThat(holds: boolean): Promise<void> {
  return holds ? Promise.resolve() : Promise.reject(new Error("the condition does not hold"));
}

function hasPrices(parts: GatewayParts): boolean {
  return [...parts.providers.keys()].every((id) => parts.priceBook.modelsOf(id).length > 0);
}

async function servePublic(
  config: Config,
  parts: GatewayParts,
  health: Health,
  management: Management,
): Promise<Bun.Server<undefined>> {
  const pages = await pageRoutes();
  return Bun.serve({
    hostname: config.listen.host,
    port: config.listen.port,
    idleTimeout: IDLE_TIMEOUT_SECONDS,
    maxRequestBodySize: LISTENER_BODY_BYTES_MAX,
    development: false,
    routes: {
      "/v1/*": (request, server) => {
        // A model may think in silence for longer than any idle timeout.
        server.timeout(request, 0);
        return serveGateway(request, parts);
      },
      "/management/*": (request, server) =>
        management.handle(request, server.requestIP(request)?.address ?? ""),
      "/openapi.json": { GET: async () => Response.json(await management.openApiDocument()) },
      "/health": { GET: () => health.health() },
      "/health/live": { GET: () => health.live() },
      "/live": { GET: () => health.live() },
      "/health/ready": { GET: () => health.ready() },
      "/ready": { GET: () => health.ready() },
    },
    fetch: (request) => pages(request),
    error: (error) => {
      parts.log.error("http.unforeseen", { error });
      return new Response("internal error\n", { status: 500 });
    },
  });
}

/** Swagger UI and the dashboard, by path. */
async function pageRoutes(): Promise<(request: Request) => Response> {
  const docs = docsRoutes();
  const assets = await loadDashboardAssets();
  return (request) => {
    const { pathname } = new URL(request.url);
    const docsPage = docs.get(pathname);
    const asset = assets.get(pathname);
    if (docsPage === undefined && asset === undefined) {
      return new Response("There is nothing here. The dashboard is at /, the API at /docs.\n", {
        status: 404,
      });
    }
    if (request.method !== "GET" && request.method !== "HEAD") {
      return new Response(null, { status: 405, headers: { allow: "GET, HEAD" } });
    }
    return docsPage?.() ?? assetResponse(request, asset);
  };
}

function assetResponse(request: Request, asset: DashboardAsset | undefined): Response {
  const etag = asset?.headers["etag"];
  if (etag !== undefined && request.headers.get("if-none-match") === etag) {
    return new Response(null, { status: 304, headers: asset?.headers ?? {} });
  }
  return new Response(asset?.body ?? null, { headers: asset?.headers ?? {} });
}

async function refreshGauges(sql: Sql, metrics: Metrics): Promise<void> {
  try {
    metrics.outboxWaiting.set(await countWaiting(sql));
  } catch {
    // Metrics are read most when the database is away; the others must still be answered.
    metrics.outboxWaiting.set(Number.NaN);
  }
}

/** A call is settled a moment before its last bytes are on the wire. */
async function flushed(server: Bun.Server<undefined>): Promise<void> {
  const attempts = FLUSH_TIMEOUT_MS / FLUSH_POLL_MS;
  for (let attempt = 0; attempt < attempts && server.pendingRequests > 0; attempt++) {
    await sleep(FLUSH_POLL_MS);
  }
}

function reachable(host: string): string {
  return host === "0.0.0.0" || host === "::" ? "127.0.0.1" : host;
}
