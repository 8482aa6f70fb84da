/** What `spendra doctor` looks at in the database. */
import type { Clock } from "../clock.ts";
import type { Config } from "../config.ts";
import type { Sql } from "../database/client.ts";
import { MigrationError, planMigrations } from "../database/migrator.ts";
import { crossOnce, type DatabaseAddress } from "../database/pooler.ts";
import { maskSecrets } from "../log.ts";
import { checkCanary, WrongEncryptionKeyError } from "../operations/encryption-canary.ts";
import { explainDatabaseError, nameDatabase } from "./database-problem.ts";
import { encryptionCanaryExists } from "./demo-queries.ts";
import {
  type Finding,
  fail,
  ok,
  type Result,
  runCheck,
  skip,
  timed,
  warn,
} from "./doctor-check.ts";
import { examineRoute, openExamined } from "./doctor-database-route.ts";
import {
  providerSecretNamesInUse,
  type ServerFacts,
  serverFacts,
  serverTime,
} from "./doctor-queries.ts";

const CONNECT_TIMEOUT_MS = 3_000;
const STATEMENT_TIMEOUT_MS = 3_000;
const OPTIONS = {
  connectionsMax: 1,
  applicationName: "spendra doctor",
  connectTimeoutMs: CONNECT_TIMEOUT_MS,
  statementTimeoutMs: STATEMENT_TIMEOUT_MS,
};
/** All the database's checks together; those that are still to come then are left out. */
const TOTAL_TIMEOUT_MS = 10_000;
/** Nothing in the schema is newer than this. */
const VERSION_MIN = 14;
const VERSION_TESTED_MIN = 15;
const VERSION_MAX = 18;
const ROUND_TRIPS = 5;
/** A paid call waits for two commits; at this distance that is felt. */
const ROUND_TRIP_MS_WARN = 10;
/** Budget windows begin by this host's clock, and so do the deadlines of reservations. */
const CLOCK_MS_WARN = 1_000;
const CLOCK_MS_FAIL = 30_000;
/** Without an answer from the database, these are named all the same. */
const DEPENDENT_CHECKS = [
  "route",
  "server version",
  "rights",
  "schema",
  "encryption key",
  "clock",
  "round trip",
  "durability",
  "provider secrets",
];

/** A database that answers. */
type Found = { readonly address: DatabaseAddress; readonly sql: Sql; readonly facts: ServerFacts };

/**
 * The database's lines. `config` is null when the configuration is wrong: what needs more of it
 * than the address is left out then.
 */
export async function examineDatabase(
  databaseUrl: string,
  config: Config | null,
  clock: Clock,
): Promise<readonly Finding[]> {
  const name = nameDatabase(databaseUrl);
  let found: Found | undefined;
  let sql: Sql | undefined;
  try {
    const reached = await runCheck(
      "database",
      async () => {
        const opened = await openExamined(databaseUrl, OPTIONS);
        ({ sql } = opened);
        const facts = await serverFacts(sql);
        found = { ...opened, facts };
        return ok(`${name} answers, as user ${facts.user}`);
      },
      (error) => explainFailure(error, `${name} does not answer: `),
    );
    return found === undefined
      ? [reached, ...skipDatabase(`${name} does not answer`)]
      : [reached, ...(await examineServer(found, config, clock))];
  } finally {
    // Never waits for a server that does not answer.
    await sql?.end({ timeout: 0 });
  }
}

/** The lines of a database that cannot be asked. */
export function skipDatabase(reason: string): readonly Finding[] {
  return DEPENDENT_CHECKS.map((check) => ({ check, ...skip(`not looked at: ${reason}`) }));
}

async function examineServer(
  { address, sql, facts }: Found,
  config: Config | null,
  clock: Clock,
): Promise<readonly Finding[]> {
  const directUrl = config?.databaseDirectUrl?.reveal() ?? null;
  const checks: readonly [string, () => Result | Promise<Result>][] = [
    ["route", () => examineRoute(address, directUrl, OPTIONS)],
    ["server version", () => judgeVersion(facts)],
    ["rights", () => judgeRights(facts)],
    ["schema", () => examineSchema(sql)],
    ["encryption key", () => examineCanary(sql, config)],
    ["clock", () => examineClock(sql, clock)],
    ["round trip", () => examineRoundTrip(sql, clock)],
    ["durability", () => judgeDurability(facts)],
    ["provider secrets", () => examineProviderSecrets(sql, config)],
  ];
  const findings: Finding[] = [];
  const startedMs = clock.monotonicMs();
  // One after the other: they share a connection, and the round trip must not wait behind others.
  for (const [check, work] of checks) {
    findings.push(
      clock.monotonicMs() - startedMs > TOTAL_TIMEOUT_MS
        ? { check, ...skip("not looked at: the database answers too slowly") }
        : await runCheck(check, async () => await work(), explainFailure),
    );
  }
  return findings;
}

/** Fails for a version that lacks something or is not known yet. */
export function judgeVersion({
  version,
  versionNumber,
}: Pick<ServerFacts, "version" | "versionNumber">): Result {
  const major = Math.floor(versionNumber / 10_000);
  const mending = `Use PostgreSQL ${VERSION_TESTED_MIN} to ${VERSION_MAX}.`;
  if (major < VERSION_MIN || major > VERSION_MAX) {
    return fail(`PostgreSQL ${version} is not supported`, mending);
  }
  return major < VERSION_TESTED_MIN
    ? warn(`PostgreSQL ${version} works, but is not tested and gets no fixes any more`, mending)
    : ok(`PostgreSQL ${version}`);
}

function judgeRights({ user, schema, mayCreate, isOwner, isReadOnly }: ServerFacts): Result {
  if (isReadOnly) {
    return fail(
      "the database is read-only: a standby, or set so",
      "Point DATABASE_URL at the primary.",
    );
  }
  if (schema === null) {
    return fail(
      "no schema of the search_path exists",
      `Create one: create schema spendra authorization "${user}", and set the search_path to it.`,
    );
  }
  if (!mayCreate) {
    return fail(
      `user ${user} may not create tables in schema ${schema}`,
      `As its owner: grant create on schema ${schema} to "${user}".`,
    );
  }
  if (!isOwner) {
    return fail(
      `user ${user} does not own Spendra's tables and cannot migrate them`,
      "Connect as the user that ran `spendra migrate` first.",
    );
  }
  return ok(`user ${user} may create tables in schema ${schema}`);
}

async function examineSchema(sql: Sql): Promise<Result> {
  const { applied, pending } = await planMigrations(sql);
  return pending.length === 0
    ? ok(`all ${applied.length} migrations are applied`)
    : fail(
        `${pending.length} migration(s) are pending, next ${pending[0]}`,
        "Run `spendra migrate`.",
      );
}

async function examineCanary(sql: Sql, config: Config | null): Promise<Result> {
  if (!(await encryptionCanaryExists(sql))) {
    return ok("none in the database yet: the first `spendra serve` sets it up with this one");
  }
  if (config === null) {
    return skip("not looked at: mend the configuration first");
  }
  await checkCanary(sql, config.encryptionKey);
  return ok("SPENDRA_ENCRYPTION_KEY is the one that the database was set up with");
}

async function examineClock(sql: Sql, clock: Clock): Promise<Result> {
  const { value, startedAt, durationMs } = await timed(clock, () => serverTime(sql));
  // The database read its clock somewhere in between; half the way is the best guess.
  const differenceMs = Math.round(value.getTime() - (startedAt.getTime() + durationMs / 2));
  const message = `the database's clock differs from this host's by ${differenceMs} ms`;
  const mending = "Run an NTP client (chrony, systemd-timesyncd) on both hosts.";
  const sizeMs = Math.abs(differenceMs);
  if (sizeMs > CLOCK_MS_FAIL) {
    return fail(message, mending);
  }
  return sizeMs > CLOCK_MS_WARN ? warn(message, mending) : ok(message);
}

async function examineRoundTrip(sql: Sql, clock: Clock): Promise<Result> {
  const durationsMs: number[] = [];
  for (let trip = 0; trip < ROUND_TRIPS; trip++) {
    durationsMs.push((await timed(clock, () => crossOnce(sql))).durationMs);
  }
  const medianMs = durationsMs.toSorted((left, right) => left - right)[ROUND_TRIPS >> 1] ?? 0;
  const message = `${medianMs.toFixed(1)} ms to the database and back, median of ${ROUND_TRIPS}`;
  return medianMs > ROUND_TRIP_MS_WARN
    ? warn(message, "Put the gateway nearer to it: every paid call waits for two round trips.")
    : ok(message);
}

function judgeDurability(facts: ServerFacts): Result {
  const off = [
    ["fsync", facts.fsync],
    ["synchronous_commit", facts.synchronousCommit],
    ["full_page_writes", facts.fullPageWrites],
  ].flatMap(([name, value]) => (value === "off" ? [name] : []));
  return off.length === 0
    ? ok("fsync, synchronous_commit and full_page_writes are on")
    : warn(
        `${off.join(", ")} off: a crash of that server can lose booked money`,
        `Switch on in its postgresql.conf: ${off.join(", ")}.`,
      );
}

async function examineProviderSecrets(sql: Sql, config: Config | null): Promise<Result> {
  if (config === null) {
    return skip("not looked at: mend the configuration first");
  }
  const { pending } = await planMigrations(sql);
  const names = pending.length > 0 ? [] : await providerSecretNamesInUse(sql);
  const missing = names.filter((name) => !config.providerSecrets.has(name));
  if (missing.length > 0) {
    return warn(
      `provider accounts refer to ${missing.join(", ")}, not set here: their calls fail`,
      "Set each, or NAME_FILE, or a systemd credential.",
    );
  }
  const set = [...config.providerSecrets.keys()];
  return set.length > 0
    ? ok(`${set.join(", ")} set`)
    : warn("none is set: no provider can be called", "Set OPENAI_API_KEY, or OPENAI_API_KEY_FILE.");
}

function explainFailure(error: unknown, prefix = ""): Result {
  if (error instanceof MigrationError) {
    return fail(error.message, "Run the spendra that this database was migrated with, or newer.");
  }
  if (error instanceof WrongEncryptionKeyError) {
    return fail(
      "SPENDRA_ENCRYPTION_KEY is not the one that the database was set up with",
      "Restore the original key: no API key is recognised with another one.",
    );
  }
  const known = explainDatabaseError(error);
  if (known !== null) {
    return fail(`${prefix}${known.problem}`, known.mending);
  }
  const message = error instanceof Error ? maskSecrets(error.message) : "no reason given";
  return fail(`${prefix}${message}`, "Look at the server's log and at DATABASE_URL.");
}
