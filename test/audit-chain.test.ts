/** The audit log's seals miss nothing, and each kind of tampering is found and named. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { changeByInstallation, recordAuditEvent } from "../src/audit/audit-event.ts";
import { sealAuditLog } from "../src/audit/seal-events.ts";
import { verifyAuditLog } from "../src/audit/verify-audit.ts";
import { systemClock } from "../src/clock.ts";
import { connect, type Sql, type Transaction } from "../src/database/client.ts";
import { inTransaction } from "../src/database/transaction.ts";
import { newId } from "../src/id.ts";
import { jobs } from "../src/scheduler/job-table.ts";
import { type Company, foundCompany } from "./acme.ts";
import { tamper } from "./ledger-books.ts";
import { runSpendra } from "./node.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";

/** Founding a company of acme.ts writes so many events. */
const FOUNDING_EVENTS = 11;

type EventKey = { id: string; event_no: bigint };

async function record(sql: Sql | Transaction, organizationId: string, name = "N"): Promise<void> {
  await recordAuditEvent(
    sql as Transaction,
    { organizationId, action: "team.rename", subjectId: "tea_1", after: { name } },
    changeByInstallation(new Date()),
  );
}

async function eventsOf(sql: Sql, { organizationId }: Company): Promise<readonly EventKey[]> {
  return await sql<EventKey[]>`
    select id, event_no from audit_log where organization_id = ${organizationId} order by event_no
  `;
}

describe.each([18, 15] as const)("a log on PostgreSQL %d", (version) => {
  let database: TestDatabase;
  let acme: Company;

  beforeAll(async () => {
    database = await testDatabase({ version });
    const { sql } = database;
    acme = await foundCompany(sql, "Acme", new Date());
    await sealAuditLog(sql, systemClock);
    await record(sql, acme.organizationId, 'Ärger „quoted"');
    await record(sql, acme.organizationId);
    await sealAuditLog(sql, systemClock);
    await record(sql, acme.organizationId);
  });
  afterAll(() => database.drop());

  test("is proved, and counted", async () => {
    const verdict = await verifyAuditLog(database.sql, null);
    expect(verdict.differences).toEqual([]);
    expect({ ...verdict }).toMatchObject({
      differenceCount: 0,
      organizationCount: 1,
      sealCount: 2,
      sealedEventCount: FOUNDING_EVENTS + 2,
      unsealedEventCount: 1,
      heads: [{ organizationId: acme.organizationId, sealNo: 2n }],
    });
  });

  test("has seals that other tools compute alike", async () => {
    let previous = "00".repeat(32);
    const seals = await database.sql<Record<string, unknown>[]>`
      select
        *, encode(hash, 'hex') as hash_hex,
        to_char(sealed_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as sealed
      from audit_seals
      order by seal_no
    `;
    for (const seal of seals) {
      const events = await database.sql<Record<string, unknown>[]>`
        select
          *, before::text as before_text, after::text as after_text,
          to_char(occurred_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as occurred
        from audit_log
        where event_no >= ${seal["event_no_from"] as bigint}
          and event_no <= ${seal["event_no_through"] as bigint}
        order by event_no
      `;
      const digests = events.map(
        (event) =>
          `${String(event["event_no"])} ${String(event["id"])} ${sha256(lineOf(event, EVENT))}\n`,
      );
      const head = lineOf({ ...seal, previous }, SEAL);
      previous = sha256(head + digests.join(""));
      expect(seal["hash_hex"]).toBe(previous);
    }
    expect(seals).toHaveLength(2);
  });

  test("stays as it is: neither an event nor a seal can be changed or deleted", async () => {
    const { sql } = database;
    for (const table of ["audit_log", "audit_seals"]) {
      for (const change of [
        () => sql`update ${sql(table)} set organization_id = 'x'`,
        () => sql`delete from ${sql(table)}`,
        () => sql`truncate ${sql(table)}`,
      ]) {
        const refusal: unknown = await change().then(
          () => null,
          (error: unknown) => error,
        );
        expect(refusal).toMatchObject({ constraint_name: `${table}_append_only` });
      }
      const [grants] = await sql<[{ may: boolean }]>`
        select bool_or(a.privilege_type in ('UPDATE', 'DELETE', 'TRUNCATE')) as may
        from pg_class c, aclexplode(c.relacl) a
        where c.relname = ${table}
      `;
      expect(grants.may).toBe(false);
    }
  });
});

const EVENT = [
  ...["event_no", "organization_id", "id", "occurred", "user_id", "service_token_id", "action"],
  ...["subject_kind", "subject_id", "before_text", "after_text", "request_id", "client_address"],
  "user_agent",
];
const SEAL = [
  ...["organization_id", "seal_no", "event_no_from", "event_no_through", "event_count"],
  ...["previous", "sealed"],
];

function lineOf(row: Record<string, unknown>, columns: readonly string[]): string {
  const members = columns.map((column) => {
    const value = row[column];
    return typeof value === "bigint" ? value.toString() : JSON.stringify(value);
  });
  return `[${members.join(", ")}]\n`;
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

describe("what is sealed", () => {
  let database: TestDatabase;
  let sql: Sql;
  let acme: Company;

  beforeAll(async () => {
    database = await testDatabase();
    ({ sql } = database);
    acme = await foundCompany(sql, "Acme", new Date());
    await sealAuditLog(sql, systemClock);
  });
  afterAll(() => database.drop());

  test("waits for a transaction that took a number earlier and commits later", async () => {
    const other = connect(database.url, { connectionsMax: 1, applicationName: "test-slow" });
    const { promise: mayCommit, resolve: commit } = Promise.withResolvers<void>();
    const { promise: hasWritten, resolve: written } = Promise.withResolvers<void>();
    const slow = inTransaction(other, async (transaction) => {
      await record(transaction, acme.organizationId);
      written();
      await mayCommit;
    });
    await hasWritten;
    await record(sql, acme.organizationId);
    expect(await sealAuditLog(sql, systemClock, 0)).toBe(0);
    commit();
    await slow;
    await other.end();
    expect(await sealAuditLog(sql, systemClock, 0)).toBe(2);
    expect(await sealAuditLog(sql, systemClock, 0)).toBe(0);
  });

  test("is all that is written, once, while several write and two seal", async () => {
    const before = (await eventsOf(sql, acme)).length;
    const write = async (): Promise<void> => {
      for (let count = 0; count < 50; count++) {
        await record(sql, acme.organizationId);
      }
    };
    const writing = Promise.all([write(), write(), write()]);
    const seal = async (): Promise<number> => {
      let sealedCount = 0;
      for (let round = 0; round < 10; round++) {
        sealedCount += await sealAuditLog(sql, systemClock);
      }
      return sealedCount;
    };
    const [one, two] = await Promise.all([seal(), seal(), writing]);
    const rest = await sealAuditLog(sql, systemClock);
    expect(one + two + rest).toBe(150);
    const verdict = await verifyAuditLog(sql, null);
    expect(verdict.differences).toEqual([]);
    expect(verdict.sealedEventCount).toBe(before + 150);
  });

  test("is a thousand events a seal at most, and the chain goes on", async () => {
    await sql`
      insert into audit_log (
        organization_id, id, occurred_at, action, subject_kind, subject_id
      )
      select ${acme.organizationId}, 'aud_' || n, now(), 'team.rename', 'team', 'tea_1'
      from generate_series(1, 2500) as n
    `;
    const before = await verifyAuditLog(sql, null);
    expect(await sealAuditLog(sql, systemClock)).toBe(2_500);
    const verdict = await verifyAuditLog(sql, acme.organizationId);
    expect(verdict.differences).toEqual([]);
    expect(verdict.sealCount).toBe(before.sealCount + 3);
  });

  test("is done by a job of the scheduler", () => {
    expect(jobs.map(({ name }) => name)).toContain("seal_audit");
  });
});

describe("tampering", () => {
  let database: TestDatabase;
  let sql: Sql;
  let acme: Company;
  let globex: Company;
  let events: readonly EventKey[];

  beforeAll(async () => {
    database = await testDatabase();
    ({ sql } = database);
    const now = new Date();
    acme = await foundCompany(sql, "Acme", now);
    globex = await foundCompany(sql, "Globex", now);
    await sealAuditLog(sql, systemClock);
    for (let round = 0; round < 2; round++) {
      await record(sql, acme.organizationId);
      await sealAuditLog(sql, systemClock);
    }
    events = await eventsOf(sql, acme);
    await sql`create table kept_log as table audit_log`;
    await sql`create table kept_seals as table audit_seals`;
  });
  afterAll(() => database.drop());

  const at = (index: number): string => events.at(index)?.id ?? "";

  /** The codes and subjects that a change leads to; everything is put back afterwards. */
  async function foundAfter(change: (sql: Transaction) => Promise<unknown>) {
    await tamper(sql, change);
    const { differences, differenceCount } = await verifyAuditLog(sql, null);
    expect(differenceCount).toBe(differences.length);
    await tamper(sql, async (transaction) => {
      await transaction`delete from audit_log`;
      await transaction`delete from audit_seals`;
      await transaction`insert into audit_log select * from kept_log`;
      await transaction`insert into audit_seals select * from kept_seals`;
    });
    expect((await verifyAuditLog(sql, null)).differences).toEqual([]);
    return differences.map(({ code, subject }) => `${code} ${subject}`);
  }

  const columns: readonly [column: string, value: string][] = [
    ["occurred_at", "2020-01-01T00:00:00Z"],
    ["user_id", "usr_other"],
    ["service_token_id", "svt_other"],
    ["action", "team.create"],
    ["subject_kind", "budget"],
    ["subject_id", "tea_other"],
    ["before", '{"a": 1}'],
    ["after", '{"name": "M"}'],
    ["request_id", "req_other"],
    ["client_address", "192.0.2.9"],
    ["user_agent", "curl"],
  ];

  test.each(columns)("of the column %s is found", async (column, value) => {
    const found = await foundAfter((transaction) =>
      transaction.unsafe(`update audit_log set ${column} = $1 where id = $2`, [value, at(-1)]),
    );
    expect(found).toEqual([`event_changed ${at(-1)}`]);
  });

  test("knows every column there is", async () => {
    const rows = await sql<{ name: string }[]>`
      select column_name as name from information_schema.columns where table_name = 'audit_log'
    `;
    const keys = ["organization_id", "id", "event_no"];
    const known = [...keys, ...columns.map(([column]) => column)];
    expect(rows.map(({ name }) => name).sort()).toEqual(known.sort());
  });

  test("a removed event is named", async () => {
    const found = await foundAfter((s) => s`delete from audit_log where id = ${at(2)}`);
    expect(found).toEqual([`event_removed ${at(2)}`]);
  });

  test("an inserted event is named", async () => {
    const id = newId("auditEvent", new Date());
    const found = await foundAfter(async (s) => {
      // The number of an event of the other company is free in this one.
      await s`
        insert into audit_log (
          organization_id, id, occurred_at, action, subject_kind, subject_id, event_no
        )
        select ${acme.organizationId}, ${id}, now(), 'team.create', 'team', 'tea_1', max(event_no)
        from audit_log
        where organization_id = ${globex.organizationId}
      `;
    });
    expect(found).toEqual([`event_inserted ${id}`]);
  });

  test("an event that was replaced by another is both", async () => {
    const found = await foundAfter((s) => s`update audit_log set id = 'aud_x' where id = ${at(1)}`);
    expect(found.sort()).toEqual(["event_inserted aud_x", `event_removed ${at(1)}`]);
  });

  test("an event that was moved to another organization is missed in its own", async () => {
    const found = await foundAfter(
      (s) => s`
        update audit_log set organization_id = ${globex.organizationId} where id = ${at(1)}
      `,
    );
    expect(found).toContain(`event_removed ${at(1)}`);
  });

  test("two events that changed places are both found", async () => {
    const [one, two] = events;
    const found = await foundAfter(async (s) => {
      await s`update audit_log set event_no = 999999 where id = ${one?.id ?? ""}`;
      await s`update audit_log set event_no = ${one?.event_no ?? 0n} where id = ${two?.id ?? ""}`;
      await s`update audit_log set event_no = ${two?.event_no ?? 0n} where id = ${one?.id ?? ""}`;
    });
    expect(found).toHaveLength(4);
  });

  const ofAcme = () => sql`organization_id = ${acme.organizationId}`;

  test("a removed seal is found", async () => {
    const found = await foundAfter(
      (s) => s`delete from audit_seals where ${ofAcme()} and seal_no = 2`,
    );
    expect(found).toEqual(["seal_missing seal 3"]);
  });

  test("an event whose digest was changed with it is found by its seal", async () => {
    const found = await foundAfter(async (s) => {
      await s`update audit_log set action = 'team.create' where id = ${at(-1)}`;
      await s`update audit_seals set event_digests = '' where ${ofAcme()} and seal_no = 3`;
    });
    expect(found).toEqual(["seal_changed seal 3", `event_inserted ${at(-1)}`]);
  });

  test("a seal that was made anew, hash and all, does not fit the next one", async () => {
    const found = await foundAfter(async (s) => {
      await s`delete from audit_seals where ${ofAcme()} and seal_no >= 2`;
      await s`update audit_log set action = 'team.create' where id = ${at(-2)}`;
      // As a sealer would: it continues behind seal 1.
      const { auditSealInsert } = await import("../src/audit/chain-queries.ts");
      await auditSealInsert(s as unknown as Sql, {
        organizationId: acme.organizationId,
        throughNumber: events.at(-2)?.event_no ?? 0n,
        sealedAt: new Date(),
      });
      await s`insert into audit_seals select * from kept_seals where ${ofAcme()} and seal_no = 3`;
    });
    expect(found).toEqual(["seal_not_linked seal 3"]);
  });

  test("is told by `spendra audit verify`, which ends with 1", async () => {
    const environment = { DATABASE_URL: database.url };
    const clean = await runSpendra(["audit", "verify"], { environment });
    expect(clean).toMatchObject({ code: 0, stderr: "" });
    expect(clean.stdout).toContain("the audit log is as it was written");
    expect(clean.stdout).toMatch(new RegExp(`head  ${acme.organizationId}  seal 3 [0-9a-f]{64}`));
    await tamper(sql, (s) => s`update audit_log set action = 'team.create' where id = ${at(-1)}`);
    const changed = await runSpendra(["audit", "verify"], { environment });
    expect(changed.code).toBe(1);
    expect(changed.stdout).toContain(`event_changed: event ${at(-1)}`);
    const verifyOne = async (id: string) =>
      await runSpendra(["audit", "verify", "--organization", id, "--json"], { environment });
    const own = await verifyOne(acme.organizationId);
    expect([own.code, JSON.parse(own.stdout)]).toMatchObject([
      1,
      { isClean: false, differenceCount: 1, differences: [{ code: "event_changed" }] },
    ]);
    const other = await verifyOne(globex.organizationId);
    expect([other.code, JSON.parse(other.stdout)]).toMatchObject([0, { isClean: true }]);
    expect((await verifyOne("org_unknown")).code).toBe(2);
    expect((await runSpendra(["audit", "prove"], { environment })).code).toBe(2);
  });
});
