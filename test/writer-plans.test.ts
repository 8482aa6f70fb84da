/**
 * The writer's statements look up by key whatever the tables hold and whatever the planner knows
 * of them. With free choice it scanned all that is held once for each closing.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import type { DemoCompany } from "../src/cli/demo-company.ts";
import { foundCompany } from "./node.ts";
import { type TestDatabase, type TestedMajor, testDatabase } from "./postgres.ts";
import { makeReservations, type ReservationMaker, settled } from "./sample-reservations.ts";
import { openTestWriter, type TestWriter } from "./test-writer.ts";
import { waitUntil } from "./wait-until.ts";

const HELD = 20_000;
const CALLS = 30;

describe.each<TestedMajor>([15, 18])("on PostgreSQL %d", (version) => {
  let database: TestDatabase;
  let company: DemoCompany;
  let make: ReservationMaker;
  /** Plans of this one were made while nothing was there. */
  let early: TestWriter;

  beforeAll(async () => {
    database = await testDatabase({ version });
    company = await foundCompany(database.sql, "http://127.0.0.1:1");
    // What the planner knows is then that every table is empty.
    await database.sql`analyze`;
    make = await makeReservations(database.sql, company);
    early = await openTestWriter(database.url);
    await callAll(early, 2);
    await database.sql`
      insert into reservations (
        organization_id, id, request_id, api_key_id, actor_id, provider, model, route,
        amount_nano_usd, window_ids, prompt_tokens_max, completion_tokens_max, price_version,
        node_id, reserved_at, deadline_at
      )
      select
        organization_id, 'rsv_held_' || n, 'req_held_' || n, api_key_id, actor_id, provider, model,
        route, 0, window_ids, 1, 1, price_version, node_id, now(), now() + interval '1 hour'
      from reservations, generate_series(1, ${HELD}) as n
      where id = (select min(id) from reservations)
    `;
  });

  afterAll(async () => {
    await database.drop();
  });

  test("nothing is scanned by a connection that planned while the tables were empty", async () => {
    expect(await scansDuring(early)).toEqual([]);
  });

  test("nothing is scanned when the planner takes full tables for empty", async () => {
    expect(await scansDuring(await openTestWriter(database.url))).toEqual([]);
  });

  test("nothing is scanned when it knows what they hold", async () => {
    await database.sql`analyze`;
    expect(await scansDuring(await openTestWriter(database.url))).toEqual([]);
  });

  /** Half of the calls have an idempotency key. */
  async function callAll({ writer }: TestWriter, count: number): Promise<void> {
    const held = Array.from({ length: count }, (_, index) => {
      const hash = createHash("sha256").update(crypto.randomUUID()).digest("hex");
      return make({ idempotency: index % 2 === 0 ? null : { keyHash: hash, bodyHash: hash } });
    });
    const batches = [held.slice(0, 10), held.slice(10)];
    for (const batch of batches) {
      const outcomes = await Promise.all(batch.map((one) => writer.reserve(one)));
      expect(outcomes.every(({ status }) => status === "granted")).toBe(true);
      await Promise.all(batch.map((one) => writer.close(settled(one, 700n), null)));
    }
    await writer.drain();
  }

  /** Tables read from end to end, and indexes that gave much more than what was asked for. */
  async function scansDuring(opened: TestWriter): Promise<string[]> {
    const before = await readCounters();
    await callAll(opened, CALLS);
    await opened.close();
    // A connection hands in its counters when it ends, at the latest.
    await waitUntil("the writer's connection has ended", async () => (await writerCount()) === 0n);
    const after = await readCounters();
    return [...after].flatMap(([name, value]) =>
      value - (before.get(name) ?? 0) > CALLS * 10 ? [name] : [],
    );
  }

  async function readCounters(): Promise<Map<string, number>> {
    const rows = await database.sql<{ name: string; rows: number }[]>`
      select relname as name, seq_tup_read::float8 as rows from pg_stat_user_tables
      union all
      select indexrelname, idx_tup_read::float8 from pg_stat_user_indexes
    `;
    return new Map(rows.map(({ name, rows: count }) => [name, count]));
  }

  async function writerCount(): Promise<bigint> {
    const [row] = await database.sql<[{ count: bigint }]>`
      select count(*)
      from pg_stat_activity
      where application_name = 'test writer' and datname = current_database()
    `;
    return row.count;
  }
});
