/**
 * Brings a database to the schema of this build: forward only, each file once and in its own
 * transaction. A number is claimed before its file runs, so that of several nodes starting together
 * one applies a file and the others wait for it. An applied file that was edited since, or a schema
 * newer than this build, is refused.
 */
import { createHash } from "node:crypto";
import type { Sql } from "./client.ts";
import { type MigrationFile, migrationFiles } from "./migration-files.ts";
import { inTransaction } from "./transaction.ts";

/** Months of partitions that a migration run leaves open beyond the present one. */
const PARTITION_MONTHS_AHEAD = 3;
const LOCK_TIMEOUT_MS = 2_000;
const STATEMENT_TIMEOUT_MS = 600_000;

export type MigrationPlan = {
  /** Names of applied migrations, in order. */
  applied: readonly string[];
  /** Names of migrations that are still to run, in order. */
  pending: readonly string[];
};

/** The database's past is not the one that this build knows. */
export class MigrationError extends Error {
  override readonly name = "MigrationError";
}

type AppliedRow = { name: string; checksum: string };

/** What `migrate` would do. Throws `MigrationError` when the past was edited or is newer. */
export async function planMigrations(sql: Sql): Promise<MigrationPlan> {
  const applied = await readApplied(sql);
  comparePast(applied);
  return {
    applied: applied.map((row) => row.name),
    pending: migrationFiles.slice(applied.length).map((file) => file.name),
  };
}

/** Applies what is pending and opens the coming months' partitions. Answers what it applied. */
export async function migrate(
  sql: Sql,
  options: { now: Date; onApplied?: (name: string) => void },
): Promise<readonly string[]> {
  await createHistory(sql);
  const { pending } = await planMigrations(sql);
  const appliedHere: string[] = [];
  for (const file of migrationFiles) {
    if (pending.includes(file.name) && (await applyFile(sql, file, options.now))) {
      appliedHere.push(file.name);
      options.onApplied?.(file.name);
    }
  }
  await openPartitions(sql, options.now);
  return appliedHere;
}

/** Opens the partitions of this month and the coming ones. Answers how many were missing. */
export async function openPartitions(sql: Sql, now: Date): Promise<number> {
  const [row] = await sql<[{ opened: number }]>`
    -- name: partitions.open
    select open_month_partitions(
      ${now.toISOString().slice(0, 10)}::date, ${PARTITION_MONTHS_AHEAD + 1}
    ) as opened
  `;
  return row.opened;
}

async function createHistory(sql: Sql): Promise<void> {
  await sql`
    -- name: migrations.create_history
    create table if not exists schema_migrations (
      name text primary key,
      checksum text not null,
      applied_at timestamptz not null
    )
  `.catch(async (error: unknown) => {
    // "If not exists" still clashes when two nodes create it in the same instant; then it exists.
    await sql`select from schema_migrations limit 1`.catch(() => {
      throw error;
    });
  });
}

async function applyFile(sql: Sql, file: MigrationFile, now: Date): Promise<boolean> {
  return await inTransaction(sql, async (transaction) => {
    await transaction`select set_config('statement_timeout', ${`${STATEMENT_TIMEOUT_MS}ms`}, true)`;
    // The claim comes first: a second node waits here for our commit and then finds the row.
    await transaction`select set_config('lock_timeout', ${`${STATEMENT_TIMEOUT_MS}ms`}, true)`;
    const claimed = await transaction`
      -- name: migrations.claim
      insert into schema_migrations (name, checksum, applied_at)
      values (${file.name}, ${checksumOf(file)}, ${now})
      on conflict do nothing
      returning name
    `;
    if (claimed.length === 0) {
      return false;
    }
    await transaction`select set_config('lock_timeout', ${`${LOCK_TIMEOUT_MS}ms`}, true)`;
    await transaction.unsafe(file.sql);
    return true;
  });
}

async function readApplied(sql: Sql): Promise<readonly AppliedRow[]> {
  const [history] = await sql<[{ exists: boolean }]>`
    -- name: migrations.history_exists
    select to_regclass('schema_migrations') is not null as exists
  `;
  if (!history.exists) {
    return [];
  }
  return await sql<AppliedRow[]>`
    -- name: migrations.list
    select name, checksum from schema_migrations order by name
  `;
}

function comparePast(applied: readonly AppliedRow[]): void {
  for (const [index, row] of applied.entries()) {
    const file = migrationFiles[index];
    if (file === undefined) {
      throw new MigrationError(
        `the database has migration ${row.name}, which this build does not know: ` +
          "run a newer spendra",
      );
    }
    if (file.name !== row.name) {
      throw new MigrationError(
        `the database has migration ${row.name} where this build has ${file.name}`,
      );
    }
    if (checksumOf(file) !== row.checksum) {
      throw new MigrationError(
        `migration ${row.name} was edited after it was applied: restore the original file`,
      );
    }
  }
}

function checksumOf(file: MigrationFile): string {
  return createHash("sha256").update(file.sql).digest("hex");
}
