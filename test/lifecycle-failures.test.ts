/** Ends of reservations that meet each other, and a database that is there but takes nothing. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { DemoCompany } from "../src/cli/demo-company.ts";
import { connect, type Sql } from "../src/database/client.ts";
import { createMetrics } from "../src/metrics.ts";
import { expireDue } from "../src/reservations/expire.ts";
import type { Closing, NewReservation, RequestRecord } from "../src/reservations/reservation.ts";
import { Writer } from "../src/reservations/writer.ts";
import { foundCompany } from "./node.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";
import {
  HELD_NANO_USD,
  makeReservations,
  type ReservationMaker,
  released,
  settled,
} from "./sample-reservations.ts";
import { openTestWriter, type TestWriter } from "./test-writer.ts";
import { waitUntil } from "./wait-until.ts";

let database: TestDatabase;
let company: DemoCompany;
let opened: TestWriter;
let newReservation: ReservationMaker;

beforeAll(async () => {
  database = await testDatabase();
  company = await foundCompany(database.sql, "http://127.0.0.1:9/v1");
  opened = await openTestWriter(database.url);
  newReservation = await makeReservations(database.sql, company);
});

afterAll(async () => {
  await opened.close();
  await database.drop();
});

describe("two ends of one reservation in the same moment", () => {
  const expired = (held: NewReservation): Closing => {
    const closing = settled(held, HELD_NANO_USD);
    if (closing.status === "released") throw new Error("a settlement has a booking");
    const booked = { ...closing.booked, usageSource: "recovered" } as const;
    return { ...closing, status: "expired", booked };
  };

  test.each<[string, (held: NewReservation) => Closing[], bigint]>([
    ["settled twice", (held) => [settled(held, 400n), settled(held, 400n)], 400n],
    ["settled and swept", (held) => [settled(held, 400n), expired(held)], 400n],
    ["swept and settled", (held) => [expired(held), settled(held, 400n)], 400n],
    ["swept by two sweeps", (held) => [expired(held), expired(held)], HELD_NANO_USD],
    ["released and settled", (held) => [released(held), settled(held, 400n)], 0n],
  ])("are booked once: %s", async (_, ends, costNanoUsd) => {
    // Others hold as well, so that a hold that is freed twice does not fall below zero.
    const others = [await hold(), await hold()];
    const held = await hold();
    await Promise.all(ends(held).map((closing) => opened.writer.close(closing, null)));
    expect(await bookedFor(held)).toBe(costNanoUsd);
    await Promise.all(others.map((other) => opened.writer.close(released(other), null)));
    expect(await heldInWindows()).toBe(0n);
  });

  test("are booked once when the sweeper comes again before it is done", async () => {
    const due = await Promise.all(Array.from({ length: 20 }, () => hold({ deadlineAt: past() })));
    const sweep = () => expireDue(database.sql, opened.writer, opened.clock);
    await Promise.all([sweep(), sweep(), sweep()]);
    for (const held of due) expect(await bookedFor(held)).toBe(HELD_NANO_USD);
    expect(await heldInWindows()).toBe(0n);
  });
});

test("a statement carried out on a connection that was given up holds nothing", async () => {
  const late = Promise.withResolvers<void>();
  const wanted = newReservation();
  const { writer, end, moveOn } = openForgetful(late.promise);
  const refused: unknown = await writer.reserve(wanted).catch((error: unknown) => error);
  expect(refused).toMatchObject({ code: "reservation_unavailable" });
  // The release was sent on the next connection, and found nothing.
  await writer.drain();
  late.resolve();
  await waitUntil("the late statement is done", async () => (await heldInWindows()) > 0n);
  await writer.beat(database.sql);
  await writer.drain();
  expect(await heldInWindows()).toBe(HELD_NANO_USD);
  moveOn(11_000);
  await writer.beat(database.sql);
  await writer.drain();
  expect(await heldInWindows()).toBe(0n);
  expect(await bookedFor(wanted)).toBe(0n);
  await end();
});

test("a cap that is lowered while its window is opened holds in that window", async () => {
  const windows = newReservation().windows.map((window) => ({
    ...window,
    id: `${window.id}_late`,
    start: new Date("2027-11-01T00:00:00Z"),
    end: new Date("2027-12-01T00:00:00Z"),
  }));
  let opening: Promise<unknown> = Promise.resolve();
  await database.sql.begin(async (transaction) => {
    await transaction`update budgets set amount_nano_usd = 500`;
    opening = opened.writer.reserve(newReservation({ windows })).then(({ status }) => status);
    await waitUntil("the writer waits for the change", async () => {
      const [row] = await database.sql<[{ waiting: number }]>`
        select count(*)::int as waiting from pg_locks where not granted
      `;
      return row.waiting > 0;
    });
  });
  expect(await opening).toBe("stale");
  const limits = await database.sql<{ limit: bigint }[]>`
    select limit_nano_usd as limit from budget_windows where right(id, 5) = '_late'
  `;
  expect(limits.map(({ limit }) => limit)).toEqual([500n, 500n]);
  await database.sql`update budgets set amount_nano_usd = 1000000`;
  newReservation = await makeReservations(database.sql, company);
});

test("a window that is gone, after a backup was restored, is opened again", async () => {
  const windows = newReservation().windows.map((window) => ({
    ...window,
    id: `${window.id}_gone`,
    start: new Date("2027-05-01T00:00:00Z"),
    end: new Date("2027-06-01T00:00:00Z"),
  }));
  const reserve = async () => {
    const asked = newReservation({ windows });
    const { status } = await opened.writer.reserve(asked);
    await opened.writer.close(released(asked), null);
    return status;
  };
  expect(await reserve()).toBe("granted");
  await database.sql`delete from budget_windows where right(id, 5) = '_gone'`;
  expect([await reserve(), await reserve()]).toEqual(["stale", "granted"]);
});

describe("a settlement is booked", () => {
  test("after a time in which the database only answered reads", async () => {
    const held = await hold();
    await setReadOnly("on");
    const started = opened.writer.close(settled(held, 400n), null);
    expect(await started).toBe(true);
    expect((await stat(join(opened.directory, "settlements.spool"))).size).toBeGreaterThan(0);
    await setReadOnly("off");
    await opened.writer.drain();
    expect(await bookedFor(held)).toBe(400n);
    expect((await readFile(join(opened.directory, "dead-letters.spool"))).length).toBe(0);
  });

  test("without what it says of its request, when that cannot be stored", async () => {
    const held = await hold();
    const request = { ...requestOf(held), status: 999 };
    expect(await opened.writer.close(settled(held, 400n), request)).toBe(true);
    expect(await bookedFor(held)).toBe(400n);
  });

  test("also when its call took longer than a month", async () => {
    const held = await hold();
    const request = { ...requestOf(held), durationMs: 31 * 24 * 60 * 60_000 };
    await opened.writer.close(settled(held, 400n), request);
    expect(await bookedFor(held)).toBe(400n);
    const [row] = await database.sql`
      select duration_ms from gateway_requests where id = ${held.requestId}
    `;
    expect(row?.["duration_ms"]).toBe(2_147_483_647);
  });

  test.each([
    ["a zero character", { note: "a\u0000b" }],
    ["half a character", { note: "a\ud800b" }],
    ["a zero character in a name", { "a\u0000b": 1 }],
    ["more than any usage has", { note: "x".repeat(1_000_000) }],
  ])("whatever the provider wrote into its usage: %s", async (_, extra) => {
    const held = await hold();
    const closing = settled(held, 400n);
    if (closing.status === "released") throw new Error("a settlement has a booking");
    const providerUsage = { prompt_tokens: 3, ...extra };
    const booked = { ...closing.booked, providerUsage };
    const request = { ...requestOf(held), model: "gpt\u00004" };
    await opened.writer.close({ ...closing, booked }, request);
    expect(await bookedFor(held)).toBe(400n);
    const requests = await database.sql`
      select from gateway_requests where id = ${held.requestId}
    `;
    expect(requests.length).toBe(1);
  });
});

test("what was spent for a reservation that a restored backup lacks is put aside", async () => {
  const held = await hold();
  const other = await hold();
  await database.sql`delete from reservations where id in (${held.id}, ${other.id})`;
  await database.sql`
    update budget_windows set held_nano_usd = held_nano_usd - ${2n * HELD_NANO_USD}
    where right(id, 5) = '_test'
  `;
  expect(await opened.writer.close(settled(held, 400n), null)).toBe(true);
  expect(await opened.writer.close(released(other), null)).toBe(false);
  const [letter, ...more] = opened.spool.deadLetters.list();
  expect(more).toEqual([]);
  expect(letter).toMatchObject({ reservationId: held.id, costUsd: "0.0000004" });
});

async function hold(changes: Partial<NewReservation> = {}): Promise<NewReservation> {
  const reservation = newReservation(changes);
  expect((await opened.writer.reserve(reservation)).status).toBe("granted");
  return reservation;
}

function past(): Date {
  return new Date(Date.now() - 1_000);
}

/** Settlements and recoveries of a reservation, less what was reversed; windows say the same. */
async function bookedFor({ id, windows }: NewReservation): Promise<bigint> {
  const [row] = await database.sql<[{ booked: bigint; cost: bigint; daily: bigint }]>`
    select
      (
        select coalesce(sum(case when kind = 'reversal' then -1 else 1 end * amount_nano_usd), 0)
        from ledger_entries where reservation_id = ${id}
      )::bigint as booked,
      (select coalesce(cost_nano_usd, 0) from reservations where id = ${id}) as cost,
      (select coalesce(sum(cost_nano_usd), 0)::bigint from usage_daily)
        - (select sum(settled_nano_usd) from budget_windows where id = ${windows[0]?.id ?? ""})
        ::bigint as daily
  `;
  expect(row.cost).toBe(row.booked);
  expect(row.daily).toBe(0n);
  return row.booked;
}

async function heldInWindows(): Promise<bigint> {
  const [row] = await database.sql<[{ held: bigint }]>`
    select coalesce(max(held_nano_usd), 0) as held from budget_windows
  `;
  return row.held;
}

function requestOf(held: NewReservation): RequestRecord {
  return {
    organizationId: held.organizationId,
    requestId: held.requestId,
    receivedAt: new Date(),
    route: held.route,
    apiKeyId: held.apiKeyId,
    actorId: held.actorId,
    provider: held.provider,
    model: held.model,
    isStreaming: false,
    policyResult: "granted",
    status: 200,
    errorCode: null,
    reservationId: held.id,
    durationMs: 12,
  };
}

/** As on a standby: sessions that begin from now on may only read. */
async function setReadOnly(to: "on" | "off"): Promise<void> {
  const name = new URL(database.url).pathname.slice(1);
  const { sql } = database;
  await sql.begin("read write", async (transaction) => {
    await transaction`
      select set_config('spendra.name', ${name}, true), set_config('spendra.to', ${to}, true)
    `;
    await transaction`
      do $$ begin
        execute format('alter database %I set default_transaction_read_only = %s',
          current_setting('spendra.name'), current_setting('spendra.to'));
      end $$
    `;
  });
  await sql`
    select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'test writer'
  `;
}

/**
 * A writer whose first connection is lost with a statement on the way, which the server carries
 * out when `isDue` resolves.
 */
function openForgetful(isDue: Promise<void>) {
  const opens: Sql[] = [];
  let offsetMs = 0;
  let isFirst = true;
  const openSql = (): Sql => {
    const sql = connect(database.url, { connectionsMax: 2, applicationName: "forgetful" });
    opens.push(sql);
    return new Proxy(sql, {
      apply: (target, self, parameters: unknown[]): unknown => {
        const isBatch = String(parameters[0]).includes("write_batch");
        if (!isFirst || !isBatch) return Reflect.apply(target, self, parameters);
        isFirst = false;
        const carryOut = () => Reflect.apply(target, self, parameters) as Promise<unknown>;
        isDue.then(carryOut).catch(() => {});
        return Promise.reject(Object.assign(new Error("lost"), { code: "CONNECTION_CLOSED" }));
      },
    });
  };
  const clock = {
    now: () => new Date(),
    monotonicMs: () => performance.now() + offsetMs,
  };
  const log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
  const writer = new Writer({ openSql, spool: opened.spool, clock, log, metrics: createMetrics() });
  return {
    writer,
    moveOn: (byMs: number) => {
      offsetMs += byMs;
    },
    end: async () => {
      await Promise.all(opens.map((sql) => sql.end({ timeout: 1 })));
    },
  };
}
