/**
 * PostgreSQL for tests: one private server a run, and for each caller a database of its own,
 * cloned from a template that holds the migrated schema.
 *
 * The runner (`test/run.ts`) starts the server and names it in SPENDRA_TEST_POSTGRES_URL; under a
 * plain `bun test` the first caller starts it.
 */

import { createHash, randomBytes } from "node:crypto";
import { basename } from "node:path";
import { systemClock } from "../src/clock.ts";
import { connect, type Sql } from "../src/database/client.ts";
import { migrationFiles } from "../src/database/migration-files.ts";
import { migrate } from "../src/database/migrator.ts";
import { type LocalPostgres, startLocalPostgres } from "../src/operations/local-postgres.ts";

/** The oldest and the newest PostgreSQL that Spendra supports. */
export type TestedMajor = 15 | 18;

/** A database for one test or one file. Call `drop` when done: the runner reports leftovers. */
export type TestDatabase = {
  url: string;
  /** A small pool on it. */
  sql: Sql;
  /** Closes `sql` and removes the database; throws when somebody else is still connected. */
  drop(): Promise<void>;
};

/** Nothing here needs to survive a power cut, and every commit waits for the disk otherwise. */
export const testServerSettings = {
  fsync: "off",
  synchronous_commit: "off",
  full_page_writes: "off",
  max_connections: "300",
};

const DEFAULT_MAJOR: TestedMajor = 18;
const CONNECTIONS_MAX = 10;
/** A server forgets a closed connection a moment after the client does. */
const CLOSE_POLLS_MAX = 40;
const CLOSE_POLL_MS = 50;
const DATABASE_PREFIX = "test_";
const TEMPLATE_LOCK_ID = 4_512_001;

/** A fresh database with the schema of this build and no rows. */
export async function testDatabase(options: { version?: TestedMajor } = {}): Promise<TestDatabase> {
  const server = await serverOf(options.version ?? DEFAULT_MAJOR);
  server.template ??= makeTemplate(server);
  return await createDatabase(server, await server.template);
}

/** A fresh database without any schema, for what migrates by itself. */
export async function emptyDatabase(
  options: { version?: TestedMajor } = {},
): Promise<TestDatabase> {
  return await createDatabase(await serverOf(options.version ?? DEFAULT_MAJOR), "template0");
}

/** Test databases that nobody dropped, with the connections still open on each. */
export async function listLeftDatabases(serverUrl: string): Promise<string[]> {
  const sql = connect(serverUrl, { connectionsMax: 1, applicationName: "test-leftovers" });
  try {
    const rows = await sql<{ datname: string; connections: string }[]>`
      -- name: test.left_databases
      select
        d.datname,
        coalesce(string_agg(coalesce(nullif(a.application_name, ''), 'unnamed'), ', '), 'none')
          as connections
      from pg_database d
      left join pg_stat_activity a on a.datid = d.oid
      where starts_with(d.datname, ${DATABASE_PREFIX})
      group by d.datname
      order by d.datname
      limit 100
    `;
    return rows.map((row) => `${row.datname} (open connections: ${row.connections})`);
  } finally {
    await sql.end();
  }
}

type Server = { url: string; administration: Sql; template?: Promise<string> };

const servers = new Map<TestedMajor, Promise<Server>>();

function serverOf(version: TestedMajor): Promise<Server> {
  const known = servers.get(version);
  if (known) return known;
  const started = startServer(version);
  servers.set(version, started);
  return started;
}

async function startServer(version: TestedMajor): Promise<Server> {
  const given = version === DEFAULT_MAJOR ? process.env["SPENDRA_TEST_POSTGRES_URL"] : undefined;
  // Never stopped by us: it ends, and its directory goes, when this process ends.
  const own: LocalPostgres | undefined = given
    ? undefined
    : await startLocalPostgres({ version, settings: testServerSettings });
  const url = given ?? own?.url ?? "";
  return {
    url,
    administration: connect(url, { connectionsMax: 1, applicationName: "test-admin" }),
  };
}

/**
 * The name of the migrated template, made by whoever comes first. It gets its final name last, so
 * that a half-migrated one is never cloned.
 */
async function makeTemplate({ url, administration }: Server): Promise<string> {
  const schema = createHash("sha256");
  for (const file of migrationFiles) schema.update(file.name).update(file.sql);
  const name = `template_${schema.digest("hex").slice(0, 16)}`;
  await administration`select pg_advisory_lock(${TEMPLATE_LOCK_ID})`;
  try {
    const present = await administration`select from pg_database where datname = ${name}`;
    if (present.length > 0) return name;
    const draft = `draft_${randomBytes(6).toString("hex")}`;
    await administration`create database ${administration(draft)} template template0`;
    const sql = connect(withDatabase(url, draft), { connectionsMax: 1, applicationName: "draft" });
    try {
      await migrate(sql, { now: systemClock.now() });
    } finally {
      await sql.end();
    }
    await administration`alter database ${administration(draft)} rename to ${administration(name)}`;
    return name;
  } finally {
    await administration`select pg_advisory_unlock(${TEMPLATE_LOCK_ID})`;
  }
}

async function createDatabase(server: Server, template: string): Promise<TestDatabase> {
  const { administration } = server;
  const name = `${DATABASE_PREFIX}${callingFile()}_${randomBytes(6).toString("hex")}`;
  // Copying files takes 70 ms where the default, writing them to the log, takes 220 ms.
  await administration`
    create database ${administration(name)} template ${administration(template)} strategy file_copy
  `;
  const url = withDatabase(server.url, name);
  const sql = connect(url, { connectionsMax: CONNECTIONS_MAX, applicationName: "test" });
  return {
    url,
    sql,
    drop: async () => {
      await sql.end({ timeout: 5 });
      const open = await waitUntilUnused(administration, name);
      await administration`drop database if exists ${administration(name)} with (force)`;
      if (open.length > 0) {
        throw new Error(`${name} was dropped under open connections: ${open.join(", ")}`);
      }
    },
  };
}

/** Names of the connections that stay. */
async function waitUntilUnused(administration: Sql, name: string): Promise<string[]> {
  let open: string[] = [];
  for (let poll = 0; poll < CLOSE_POLLS_MAX; poll++) {
    const rows = await administration<{ applicationName: string }[]>`
      -- name: test.open_connections
      select application_name as "applicationName" from pg_stat_activity where datname = ${name}
    `;
    open = rows.map((row) => row.applicationName || "unnamed");
    if (open.length === 0) break;
    await Bun.sleep(CLOSE_POLL_MS);
  }
  return open;
}

/** The test file that asks, in the database's name, so that a leftover tells where it is from. */
function callingFile(): string {
  const file = basename(Bun.main)
    .replace(/(\.browser)?\.test\.ts$/, "")
    .replaceAll(/[^a-z0-9]+/gi, "_");
  return file.toLowerCase().slice(0, 30);
}

function withDatabase(serverUrl: string, name: string): string {
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  return url.href;
}
