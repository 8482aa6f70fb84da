/** The life of a reservation on a real database, event by event, as an accountant would read it. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { DemoCompany } from "../src/cli/demo-company.ts";
import { expireDue } from "../src/reservations/expire.ts";
import type { NewReservation } from "../src/reservations/reservation.ts";
import type { Writer } from "../src/reservations/writer.ts";
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

let database: TestDatabase;
let company: DemoCompany;
let opened: TestWriter;
let writer: Writer;
let newReservation: ReservationMaker;

beforeAll(async () => {
  database = await testDatabase();
  company = await foundCompany(database.sql, "http://127.0.0.1:9/v1");
  opened = await openTestWriter(database.url);
  writer = opened.writer;
  newReservation = await makeReservations(database.sql, company);
});

afterAll(async () => {
  await opened.close();
  await database.drop();
});

describe("a reservation", () => {
  test("holds in every window, and settling frees the hold and books the cost once", async () => {
    const before = await totals();
    const held = await reserve();
    expect(await changeSince(before)).toEqual({
      held: HELD_NANO_USD,
      settled: 0n,
      entries: 0n,
      daily: 0n,
    });
    expect(await writer.close(settled(held, 400n), null)).toBe(true);
    expect(await changeSince(before)).toEqual({
      held: 0n,
      settled: 400n,
      entries: 400n,
      daily: 400n,
    });
    expect(await writer.close(settled(held, 400n), null)).toBe(false);
    expect(await changeSince(before)).toEqual({
      held: 0n,
      settled: 400n,
      entries: 400n,
      daily: 400n,
    });
  });

  test("that is released leaves nothing", async () => {
    const before = await totals();
    const held = await reserve();
    expect(await writer.close(released(held), null)).toBe(true);
    expect(await changeSince(before)).toEqual({ held: 0n, settled: 0n, entries: 0n, daily: 0n });
    expect(await writer.close(settled(held, 400n), null)).toBe(false);
    expect(await changeSince(before)).toEqual({ held: 0n, settled: 0n, entries: 0n, daily: 0n });
  });

  test("that costs more than its hold is booked in full and marked", async () => {
    const before = await totals();
    const held = await reserve();
    await writer.close(settled(held, 2_500n), null);
    expect(await changeSince(before)).toEqual({
      held: 0n,
      settled: 2_500n,
      entries: 2_500n,
      daily: 2_500n,
    });
    const [event] = await database.sql`
      select is_overage from spend_events where reservation_id = ${held.id}
    `;
    expect(event?.["is_overage"]).toBe(true);
  });

  test("past its deadline is booked at its bound by the sweeper, marked as recovered", async () => {
    const before = await totals();
    const held = await reserve({ deadlineAt: new Date(Date.now() - 1_000) });
    expect(await expireDue(database.sql, writer, opened.clock)).toBe(1);
    expect(await expireDue(database.sql, writer, opened.clock)).toBe(0);
    expect(await changeSince(before)).toEqual({
      held: 0n,
      settled: HELD_NANO_USD,
      entries: HELD_NANO_USD,
      daily: HELD_NANO_USD,
    });
    const [event] = await database.sql`
      select usage_source from spend_events where reservation_id = ${held.id}
    `;
    expect(event?.["usage_source"]).toBe("recovered");
  });

  test.each([
    [400n, "less"],
    [HELD_NANO_USD, "the same"],
    [2_500n, "more"],
    [0n, "nothing"],
  ])("that expired is corrected to %d when its settlement comes late (%s)", async (cost) => {
    const before = await totals();
    const held = await reserve({ deadlineAt: new Date(Date.now() - 1_000) });
    await expireDue(database.sql, writer, opened.clock);
    expect(await writer.close(settled(held, cost), null)).toBe(true);
    const corrected = { held: 0n, settled: cost, entries: cost, daily: cost };
    expect(await changeSince(before)).toEqual(corrected);
    expect(await writer.close(settled(held, cost), null)).toBe(false);
    expect(await writer.close(settled(held, 77n), null)).toBe(false);
    expect(await changeSince(before)).toEqual(corrected);
    const kinds = await database.sql<{ kind: string }[]>`
      select kind from ledger_entries where reservation_id = ${held.id} order by kind
    `;
    const wanted = cost > 0n ? ["recovery", "reversal", "settlement"] : ["recovery", "reversal"];
    expect(kinds.map(({ kind }) => kind)).toEqual(wanted);
  });

  test("that expired is freed when its release comes late", async () => {
    const before = await totals();
    const held = await reserve({ deadlineAt: new Date(Date.now() - 1_000) });
    await expireDue(database.sql, writer, opened.clock);
    expect(await writer.close(released(held), null)).toBe(true);
    const nothing = { held: 0n, settled: 0n, entries: 0n, daily: 0n };
    expect(await changeSince(before)).toEqual(nothing);
    expect(await writer.close(settled(held, 400n), null)).toBe(false);
    expect(await changeSince(before)).toEqual(nothing);
  });

  test("is refused as stale when its key or its rules changed, and holds nothing", async () => {
    const before = await totals();
    expect(await writer.reserve(newReservation({ apiKeyEpoch: 99n }))).toEqual({ status: "stale" });
    expect(await writer.reserve(newReservation({ governanceEpoch: 0n }))).toEqual({
      status: "stale",
    });
    expect(await changeSince(before)).toEqual({ held: 0n, settled: 0n, entries: 0n, daily: 0n });
  });

  test("that does not fit one window is held in none", async () => {
    const before = await totals();
    const outcome = await writer.reserve(newReservation({ amountNanoUsd: 25_000_000_001n }));
    expect(outcome).toMatchObject({ status: "no_room" });
    expect(await changeSince(before)).toEqual({ held: 0n, settled: 0n, entries: 0n, daily: 0n });
  });

  test("20 × 75 against 500 grants exactly the first 6", async () => {
    await database.sql`
      update budgets set amount_nano_usd = 500 + (
        select max(settled_nano_usd) from budget_windows
      )
    `;
    const [epoch] = await database.sql<[{ epoch: bigint }]>`
      select governance_epoch as epoch from organizations
    `;
    const outcomes = await Promise.all(
      Array.from({ length: 20 }, () =>
        writer.reserve(newReservation({ amountNanoUsd: 75n, governanceEpoch: epoch.epoch })),
      ),
    );
    const granted = outcomes.map(({ status }) => status === "granted");
    expect(granted).toEqual(Array.from({ length: 20 }, (_, index) => index < 6));
  });
});

async function reserve(changes: Partial<NewReservation> = {}): Promise<NewReservation> {
  const reservation = newReservation(changes);
  expect((await writer.reserve(reservation)).status).toBe("granted");
  return reservation;
}

type Totals = { held: bigint; settled: bigint; entries: bigint; daily: bigint };

/** Of one window: both windows must say the same. */
async function totals(): Promise<Totals> {
  const rows = await database.sql<{ held: bigint; settled: bigint }[]>`
    select held_nano_usd as held, settled_nano_usd as settled from budget_windows
  `;
  const [first = { held: 0n, settled: 0n }, second = first] = rows;
  expect(second).toEqual(first);
  const [books] = await database.sql<[{ entries: bigint; daily: bigint }]>`
    select
      (
        select coalesce(sum(
          case when kind = 'reversal' then -amount_nano_usd else amount_nano_usd end
        ), 0)::bigint
        from ledger_entries
      ) as entries,
      (select coalesce(sum(cost_nano_usd), 0)::bigint from usage_daily) as daily
  `;
  return { ...first, ...books };
}

async function changeSince(before: Totals): Promise<Totals> {
  const now = await totals();
  return {
    held: now.held - before.held,
    settled: now.settled - before.settled,
    entries: now.entries - before.entries,
    daily: now.daily - before.daily,
  };
}
