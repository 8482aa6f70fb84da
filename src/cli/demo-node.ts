/**
 * Brings up everything that the demo shows: PostgreSQL, the schema, a provider, the company and a
 * node. What is started goes onto the stack, which stops it in the opposite order.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type App, startApp } from "../app.ts";
import { systemClock } from "../clock.ts";
import type { Config } from "../config.ts";
import type { Sql } from "../database/client.ts";
import { migrate, planMigrations } from "../database/migrator.ts";
import { connectEitherWay } from "../database/pooler.ts";
import { errorCodeOf } from "../database/sqlstate.ts";
import { deriveKeyHmacKey, newSecret } from "../keys/token.ts";
import { openLog } from "../log.ts";
import { checkCanary, WrongEncryptionKeyError } from "../operations/encryption-canary.ts";
import { startLocalPostgres } from "../operations/local-postgres.ts";
import { Secret } from "../secret.ts";
import { nameDatabase } from "./database-problem.ts";
import { type DemoCompany, foundDemoCompany } from "./demo-company.ts";
import { demoKeyPath, makeDemoKey, readDemoKey } from "./demo-key.ts";
import type { Progress } from "./demo-progress.ts";
import { encryptionCanaryExists, userExists } from "./demo-queries.ts";
import { type DemoSettings, readDemoConfig } from "./demo-settings.ts";
import { probePort } from "./listen-port.ts";
import { startProviderSimulator } from "./provider-simulator.ts";

export type RunningDemo = {
  /** Without a slash at the end. */
  readonly url: string;
  readonly databaseUrl: string;
  readonly sql: Sql;
  readonly company: DemoCompany;
  readonly admin: { email: string; password: string };
  /** Who answers the call, for a person. */
  readonly providerName: string;
};

export type DemoTools = {
  readonly stack: AsyncDisposableStack;
  readonly progress: Progress;
  readonly isVerbose: boolean;
};

const CONNECTIONS_MAX = 2;
const PORT_MENDING = "stop that program, or choose another port, for example PORT=8081";
const PASSWORD_CHARACTERS = 24;
const ADMIN_SUFFIX_CHARACTERS = 6;

/** Rejects with a message for a person when any part does not come up. */
export async function startDemo(settings: DemoSettings, tools: DemoTools): Promise<RunningDemo> {
  const { progress } = tools;
  const port = await choosePort(settings.port);
  const stateDirectory = await makeStateDirectory(tools.stack);
  const { databaseUrl, sql } = await openDatabase(settings, tools);
  const encryptionKey = await chooseEncryptionKey(settings, sql, databaseUrl, progress);
  const provider = startProvider(settings, tools.stack);
  const config = readDemoConfig(settings, {
    databaseUrl,
    port,
    stateDirectory,
    isVerbose: tools.isVerbose,
    ...(encryptionKey === undefined ? {} : { encryptionKey }),
    ...(provider.apiKey === undefined ? {} : { openAiApiKey: provider.apiKey }),
  });
  await bringUpSchema(settings, sql, config, progress);
  const { company, admin } = await found(sql, config, provider.baseUrl, progress);
  const app = await progress.step(`gateway on 127.0.0.1:${port}`, () => startNode(config, port));
  tools.stack.defer(() => app.stop());
  return { url: app.url, databaseUrl, sql, company, admin, providerName: provider.name };
}

/** Looked at first, so that nothing is started in vain. */
async function choosePort(wanted: number): Promise<number> {
  const { state, port } = await probePort("127.0.0.1", wanted);
  if (state === "free") {
    return port;
  }
  const reason = state === "taken" ? "is taken by another program" : "may not be listened on";
  throw new Error(`port ${wanted} ${reason}: ${PORT_MENDING}`);
}

async function startNode(config: Config, port: number): Promise<App> {
  const log = openLog(config.logLevel, { write: (line) => process.stderr.write(line) });
  try {
    return await startApp(config, log);
  } catch (error) {
    // Somebody was faster than PostgreSQL's start.
    if (errorCodeOf(error) === "EADDRINUSE") {
      throw new Error(`port ${port} has just been taken: ${PORT_MENDING}`, { cause: error });
    }
    throw error;
  }
}

async function makeStateDirectory(stack: AsyncDisposableStack): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "spendra-demo-"));
  stack.defer(() => rm(path, { recursive: true, force: true }));
  return path;
}

async function openDatabase(
  settings: DemoSettings,
  { stack, progress }: DemoTools,
): Promise<{ databaseUrl: string; sql: Sql }> {
  if (settings.databaseUrl !== null) {
    const databaseUrl = settings.databaseUrl.reveal();
    const sql = await progress.step(`PostgreSQL at ${nameDatabase(databaseUrl)}`, () =>
      openConnections(databaseUrl, stack),
    );
    return { databaseUrl, sql };
  }
  const server = await progress.step(
    "PostgreSQL: making and starting a private one",
    () => startLocalPostgres(),
    ({ url, version }) => `PostgreSQL ${version}, private and temporary, ${nameDatabase(url)}`,
  );
  stack.defer(() => server.stop());
  return { databaseUrl: server.url, sql: await openConnections(server.url, stack) };
}

async function openConnections(databaseUrl: string, stack: AsyncDisposableStack): Promise<Sql> {
  const sql = await connectEitherWay(databaseUrl, {
    connectionsMax: CONNECTIONS_MAX,
    applicationName: "spendra demo",
  });
  stack.defer(() => sql.end());
  return sql;
}

/** Undefined when the environment has the key. Before anything is changed in the database. */
async function chooseEncryptionKey(
  settings: DemoSettings,
  sql: Sql,
  databaseUrl: string,
  progress: Progress,
): Promise<string | undefined> {
  if (settings.hasEncryptionKey) {
    return undefined;
  }
  if (settings.databaseUrl === null) {
    return newSecret();
  }
  const path = demoKeyPath(databaseUrl, settings.environment);
  const kept = await readDemoKey(path);
  if (await encryptionCanaryExists(sql)) {
    await requireKeyOf(sql, databaseUrl, kept);
  }
  if (kept !== null) {
    return kept;
  }
  const made = await makeDemoKey(path);
  if (made.problem !== null) {
    progress.note(`The demo's key could not be kept in ${path} (${made.problem}).`);
    progress.note("Another demo on this database will need an empty database.");
  }
  return made.encryptionKey;
}

async function requireKeyOf(sql: Sql, databaseUrl: string, key: string | null): Promise<void> {
  try {
    if (key === null) {
      throw new WrongEncryptionKeyError();
    }
    await checkCanary(sql, new Secret(key));
  } catch (error) {
    if (!(error instanceof WrongEncryptionKeyError)) {
      throw error;
    }
    throw new Error(
      `${nameDatabase(databaseUrl)} was set up with an encryption key that the demo does not ` +
        "know. Nothing was changed. Set SPENDRA_ENCRYPTION_KEY to that key, or DATABASE_URL to " +
        "an empty database, or unset DATABASE_URL: the demo then brings its own PostgreSQL.",
      { cause: error },
    );
  }
}

async function bringUpSchema(
  settings: DemoSettings,
  sql: Sql,
  config: Config,
  progress: Progress,
): Promise<void> {
  // With a key from the environment, too, a database of somebody else stays as it is.
  if (settings.hasEncryptionKey && (await encryptionCanaryExists(sql))) {
    await requireKeyOf(sql, config.databaseUrl.reveal(), config.encryptionKey.reveal());
  }
  await progress.step(
    "schema",
    async () => {
      const applied = await migrate(sql, { now: systemClock.now() });
      return { applied, all: (await planMigrations(sql)).applied };
    },
    ({ applied, all }) => `schema: ${applied.length} of ${all.length} migrations applied now`,
  );
}

function startProvider(
  { openAiBaseUrl }: DemoSettings,
  stack: AsyncDisposableStack,
): { baseUrl: string; name: string; apiKey?: string } {
  if (openAiBaseUrl !== null) {
    return { baseUrl: openAiBaseUrl, name: "OpenAI" };
  }
  const apiKey = newSecret();
  const simulator = startProviderSimulator({ apiKey });
  stack.defer(() => simulator.stop());
  return { baseUrl: simulator.baseUrl, name: "the built-in provider simulator", apiKey };
}

async function found(
  sql: Sql,
  config: Config,
  openAiBaseUrl: string,
  progress: Progress,
): Promise<{ company: DemoCompany; admin: { email: string; password: string } }> {
  const isSecond = await userExists(sql, "admin@acme.example");
  const suffix = isSecond ? `-${randomLetters(ADMIN_SUFFIX_CHARACTERS)}` : "";
  const admin = {
    email: `admin${suffix}@acme.example`,
    password: newSecret().slice(0, PASSWORD_CHARACTERS),
  };
  const company = await progress.step(
    "Acme: team, project, employee, agent, two hard caps, key",
    () =>
      foundDemoCompany(sql, {
        openAiBaseUrl,
        hmacKey: deriveKeyHmacKey(config.encryptionKey),
        admin,
        now: systemClock.now(),
      }),
  );
  if (isSecond) {
    progress.note(`This database had an Acme already. The new one's login is ${admin.email}.`);
  }
  return { company, admin };
}

/** Hexadecimal, so that it can be read out and typed. */
function randomLetters(count: number): string {
  return crypto.randomUUID().replaceAll("-", "").slice(0, count);
}
