/** Migrations: once each, by many at a time, forward only; and the tables that take no change. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import postgres from "postgres";
import { changeByInstallation } from "../src/audit/audit-event.ts";
import { connect, type Sql } from "../src/database/client.ts";
import { migrationFiles } from "../src/database/migration-files.ts";
import {
  MigrationError,
  migrate,
  openPartitions,
  planMigrations,
} from "../src/database/migrator.ts";
import { requireCurrentSchema } from "../src/database/schema-check.ts";
import { newId } from "../src/id.ts";
import {
  openProviderPayableAccount,
  providerAccountId,
  spendAccountId,
} from "../src/ledger/account.ts";
import { createOrganization } from "../src/organizations/organization.ts";
import { emptyDatabase, type TestDatabase, testDatabase } from "./postgres.ts";

const NOW = new Date("2026-11-21T12:00:00Z");
const names = migrationFiles.map(({ name }) => name);
const PARENTS = ["ledger_entries", "spend_events", "gateway_requests"];

/** Everything in the schema, to tell that nothing was changed. */
async function relationsOf(sql: Sql): Promise<string[]> {
  const rows = await sql<{ relname: string }[]>`
    select relname from pg_class where relnamespace = 'public'::regnamespace order by relname
  `;
  return rows.map(({ relname }) => relname);
}

async function partitionsOf(sql: Sql): Promise<{ name: string; bound: string }[]> {
  return await sql<{ name: string; bound: string }[]>`
    select c.relname as name, pg_get_expr(c.relpartbound, c.oid) as bound
    from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where c.relkind = 'r'
    order by c.relname
  `;
}

describe("migrations", () => {
  let database: TestDatabase;
  let sql: Sql;

  beforeEach(async () => {
    database = await emptyDatabase();
    ({ sql } = database);
  });

  afterEach(async () => {
    await database.drop();
  });

  test("are refused by a database whose past was edited", async () => {
    await migrate(sql, { now: NOW });
    await sql`update schema_migrations set checksum = 'x' where name = ${names[2] ?? ""}`;
    const refusal = `migration ${names[2]} was edited after it was applied`;
    await expectRefusal(planMigrations(sql), refusal);
    expect(await failureOf(migrate(sql, { now: NOW }))).toBeInstanceOf(MigrationError);
    await expectRefusal(requireCurrentSchema(sql), refusal);
  });

  test("are refused by a database that is newer than this build", async () => {
    await migrate(sql, { now: NOW });
    await sql`
      insert into schema_migrations (name, checksum, applied_at)
      values ('9999_from_the_future.sql', 'x', ${NOW})
    `;
    const refusal = "has migration 9999_from_the_future.sql, which this build does not know";
    await expectRefusal(planMigrations(sql), refusal);
    await expectRefusal(migrate(sql, { now: NOW }), refusal);
    await expectRefusal(requireCurrentSchema(sql), refusal);
  });

  test("are refused by a database that lacks one in the middle", async () => {
    await migrate(sql, { now: NOW });
    await sql`delete from schema_migrations where name = ${names[4] ?? ""}`;
    const refusal = `has migration ${names[5]} where this build has ${names[4]}`;
    await expectRefusal(migrate(sql, { now: NOW }), refusal);
  });

  test("that are pending are named, and serving is refused until they are applied", async () => {
    expect(await planMigrations(sql)).toEqual({ applied: [], pending: names });
    await expectRefusal(
      requireCurrentSchema(sql),
      `${names.length} migration(s) behind this build (next: ${names[0]}): ` +
        "run `spendra migrate` first",
    );
    await migrate(sql, { now: NOW });
    expect(await planMigrations(sql)).toEqual({ applied: names, pending: [] });
    await requireCurrentSchema(sql);
  });

  test("are planned without any change, before, in the middle and after", async () => {
    await planMigrations(sql);
    expect(await relationsOf(sql)).toEqual([]);
    await migrate(sql, { now: NOW });
    await sql`delete from schema_migrations where name = ${names.at(-1) ?? ""}`;
    const before = await relationsOf(sql);
    expect((await planMigrations(sql)).pending).toEqual([names.at(-1) ?? ""]);
    expect(await relationsOf(sql)).toEqual(before);
  });

  test("are applied once each when five nodes start together", async () => {
    const nodes = Array.from({ length: 5 }, () =>
      connect(database.url, { connectionsMax: 2, applicationName: "node" }),
    );
    try {
      const reported: string[] = [];
      const onApplied = (name: string) => reported.push(name);
      const applied = await Promise.all(
        nodes.map((node) => migrate(node, { now: NOW, onApplied })),
      );
      expect(applied.flat().toSorted()).toEqual(names);
      expect(reported.toSorted()).toEqual(names);
    } finally {
      await Promise.all(nodes.map((node) => node.end()));
    }
    await requireCurrentSchema(sql);
    expect((await partitionsOf(sql)).length).toBe(4 * PARENTS.length);
  });

  test("that fail leave nothing of themselves, and go on when the reason is gone", async () => {
    await sql`create table job_runs (in_the_way integer)`;
    await expectRefusal(migrate(sql, { now: NOW }), '"job_runs" already exists');
    const failed = names.findIndex((name) => name.includes("job_runs"));
    expect((await planMigrations(sql)).pending).toEqual(names.slice(failed));
    await sql`drop table job_runs`;
    expect(await migrate(sql, { now: NOW })).toEqual(names.slice(failed));
    await requireCurrentSchema(sql);
  });

  test("a second time apply nothing and open nothing", async () => {
    expect(await migrate(sql, { now: NOW })).toEqual(names);
    const before = await relationsOf(sql);
    expect(await migrate(sql, { now: NOW })).toEqual([]);
    expect(await openPartitions(sql, NOW)).toBe(0);
    expect(await relationsOf(sql)).toEqual(before);
  });
});

describe("partitions", () => {
  let database: TestDatabase;
  let sql: Sql;

  beforeEach(async () => {
    database = await emptyDatabase();
    const name = new URL(database.url).pathname.slice(1);
    // A session far from UTC, and a year's end.
    await database.sql`alter database ${database.sql(name)} set timezone to 'Pacific/Kiritimati'`;
    await database.sql.end();
    sql = connect(database.url, { connectionsMax: 5, applicationName: "far from UTC" });
    await migrate(sql, { now: NOW });
  });

  afterEach(async () => {
    await sql.end();
    await database.drop();
  });

  test("are open for this month and three more, in UTC", async () => {
    const partitions = await partitionsOf(sql);
    const months = ["2026_11", "2026_12", "2027_01", "2027_02"];
    expect(partitions.map(({ name }) => name)).toEqual(
      PARENTS.flatMap((parent) => months.map((month) => `${parent}_${month}`)).toSorted(),
    );
    const december = partitions.find(({ name }) => name === "ledger_entries_2026_12");
    const [from = "", to = ""] = december?.bound.match(/\d{4}-[^']+/g) ?? [];
    expect(new Date(from).toISOString()).toBe("2026-12-01T00:00:00.000Z");
    expect(new Date(to).toISOString()).toBe("2027-01-01T00:00:00.000Z");
  });

  test.each([
    ["2026-11-30T23:59:59.999Z", 0],
    ["2026-12-01T00:00:00.000Z", 3],
    ["2027-02-28T12:00:00.000Z", 9],
    // The months between stay closed: nothing is booked in the past.
    ["2030-01-31T12:00:00.000Z", 12],
  ])("that are missing at %s are opened: %p, and none a second time", async (at, opened) => {
    expect(await openPartitions(sql, new Date(at))).toBe(opened);
    expect(await openPartitions(sql, new Date(at))).toBe(0);
  });

  test("are opened once when five nodes ask together", async () => {
    const later = new Date("2026-12-01T00:00:00Z");
    const opened = await Promise.all(Array.from({ length: 5 }, () => openPartitions(sql, later)));
    expect(opened.filter((count) => count > 0)).toEqual([3]);
  });
});

describe("what was written", () => {
  let database: TestDatabase;
  let sql: Sql;
  let partition: string;

  beforeAll(async () => {
    database = await testDatabase();
    ({ sql } = database);
    partition = await writeBook(sql);
  });

  afterAll(async () => {
    await database.drop();
  });

  /** Who is refused here owns everything; `partition` is a month of the ledger. */
  const statements: readonly [string, string, string][] = [
    ["ledger_entries", "update", "update ledger_entries set amount_nano_usd = 1"],
    ["ledger_entries", "update", "update ledger_entries set id = id"],
    ["ledger_entries", "delete", "delete from ledger_entries"],
    ["ledger_entries", "truncate", "truncate ledger_entries"],
    ["ledger_entries", "truncate", "truncate ledger_accounts cascade"],
    ["ledger_entries", "truncate", "truncate only organizations cascade"],
    ["partition", "update", "update partition set amount_nano_usd = 1"],
    ["partition", "delete", "delete from partition"],
    ["partition", "truncate", "truncate partition"],
    ["partition", "truncate", "truncate only partition"],
    [
      "ledger_entries",
      "merge",
      "merge into ledger_entries e using (select 1) x on true when matched then delete",
    ],
    [
      "ledger_entries",
      "upsert",
      "insert into ledger_entries select * from ledger_entries on conflict " +
        "(organization_id, id, occurred_at) do update set amount_nano_usd = 1",
    ],
    ["audit_log", "update", "update audit_log set action = 'x'"],
    ["audit_log", "delete", "delete from audit_log"],
    ["audit_log", "truncate", "truncate audit_log"],
    ["audit_log", "truncate", "truncate users cascade"],
  ];

  test.each(statements)("in %s stays, for its owner as well: %s (%#)", async (_, __, text) => {
    const statement = text.replaceAll("partition", partition);
    const error = await errorOf(sql.unsafe(statement));
    expect(error).toMatchObject({ code: "23001" });
    expect(error.constraint_name).toEndWith("_append_only");
    expect(error.message).toContain("is append-only");
    expect(await sql`select from ledger_entries where amount_nano_usd = 7`).toHaveLength(1);
    expect(await sql`select from audit_log`).not.toHaveLength(0);
  });

  test("in the ledger cannot be changed by right either: nobody has it on any part", async () => {
    const granted = await sql`
      select c.relname, a.privilege_type
      from pg_class c, aclexplode(c.relacl) a
      where c.relname like 'ledger\\_entries%' and c.relkind in ('r', 'p')
        and a.privilege_type in ('UPDATE', 'DELETE', 'TRUNCATE')
    `;
    expect([...granted]).toEqual([]);
    const unlisted = await sql`
      select relname from pg_class
      where relname like 'ledger\\_entries%' and relkind in ('r', 'p') and relacl is null
    `;
    expect([...unlisted], "no list of rights means all rights for the owner").toEqual([]);
  });
});

describe("an owner who is no superuser", () => {
  const role = `spendra_owner_${randomBytes(6).toString("hex")}`;
  let database: TestDatabase;
  let sql: Sql;

  beforeAll(async () => {
    database = await emptyDatabase();
    sql = connect(database.url, { connectionsMax: 1, applicationName: "owner" });
    await sql`create role ${sql(role)} nosuperuser`;
    await sql`grant create on schema public to ${sql(role)}`;
    await sql`set role ${sql(role)}`;
    await migrate(sql, { now: NOW });
  });

  afterAll(async () => {
    await sql`reset role`;
    await sql`drop owned by ${sql(role)}`;
    await sql`drop role ${sql(role)}`;
    await sql.end();
    await database.drop();
  });

  test("may add to the ledger, but neither change it by right nor after taking it", async () => {
    const partition = await writeBook(sql);
    for (const table of ["ledger_entries", partition]) {
      for (const change of ["delete from", "truncate"]) {
        const refused = await errorOf(sql.unsafe(`${change} ${table}`));
        expect(refused, `${change} ${table}`).toMatchObject({ code: "42501" });
        await sql.unsafe(`grant all on ${table} to ${role}`);
        const stopped = await errorOf(sql.unsafe(`${change} ${table}`));
        expect(stopped, `${change} ${table}`).toMatchObject({ code: "23001" });
        await sql.unsafe(`revoke update, delete, truncate on ${table} from ${role}`);
      }
    }
    expect(await sql`select from ledger_entries`).toHaveLength(1);
  });
});

/** Writes an organization, its audit row and one entry. Answers the entry's partition. */
async function writeBook(sql: Sql): Promise<string> {
  const now = new Date();
  await openPartitions(sql, now);
  const organizationId = await sql.begin((transaction) =>
    createOrganization(transaction, { name: "Acme" }, changeByInstallation(now)),
  );
  await openProviderPayableAccount(sql, organizationId, "openai", now);
  const [row] = await sql<[{ partition: string }]>`
    insert into ledger_entries (
      organization_id, id, occurred_at, kind, debit_account_id, credit_account_id, amount_nano_usd
    )
    values (
      ${organizationId}, ${newId("ledgerEntry", now)}, ${now}, 'adjustment',
      ${spendAccountId(organizationId)}, ${providerAccountId(organizationId, "openai")}, 7
    )
    returning tableoid::regclass::text as partition
  `;
  return row.partition;
}

async function failureOf(work: PromiseLike<unknown>): Promise<Error> {
  try {
    await work;
  } catch (error) {
    if (error instanceof Error) {
      return error;
    }
  }
  throw new Error("nothing was refused");
}

async function expectRefusal(work: PromiseLike<unknown>, message: string): Promise<void> {
  expect((await failureOf(work)).message).toContain(message);
}

async function errorOf(statement: PromiseLike<unknown>): Promise<postgres.PostgresError> {
  const error = await failureOf(statement);
  if (error instanceof postgres.PostgresError) {
    return error;
  }
  throw error;
}
