/** Alerts of budgets: each threshold once a window, and a forecast while there is time. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { forecastOf } from "../src/budgets/forecast.ts";
import type { Clock } from "../src/clock.ts";
import { type LogFields, openLog } from "../src/log.ts";
import type { Writer } from "../src/reservations/writer.ts";
import { raiseAlerts } from "../src/scheduler/jobs/raise-alerts.ts";
import { type Company, foundCompany } from "./acme.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";

const NOW = new Date("2026-11-21T12:00:00Z");
const HOUR_MS = 60 * 60_000;
const USD = 1_000_000_000n;

let database: TestDatabase;
let acme: Company;
let now = NOW;
let events: string[] = [];
const clock: Clock = { now: () => now, monotonicMs: () => performance.now() };
const log = openLog("info", {
  write: (line) => {
    const { event, alertKind } = JSON.parse(line) as LogFields & { event: string };
    events.push(`${event} ${alertKind}`);
  },
});

beforeAll(async () => {
  database = await testDatabase();
  acme = await foundCompany(database.sql, "Acme", NOW);
});

afterAll(async () => {
  await database.drop();
});

beforeEach(async () => {
  const { sql } = database;
  await sql`delete from alerts`;
  await sql`delete from budget_windows`;
  await sql`update policies set archived_at = null, mode = 'enforced', kind = 'hard_cap'`;
  now = NOW;
  events = [];
});

/** A window from ten hours ago until in ten hours, so that the pace is to be at half of it. */
async function openWindow(settledNanoUsd: bigint, limitNanoUsd = 100n * USD, hours = 0) {
  const from = new Date(NOW.getTime() + (hours - 10) * HOUR_MS);
  const to = new Date(NOW.getTime() + (hours + 10) * HOUR_MS);
  await database.sql`
    insert into budget_windows (
      organization_id, id, budget_id, window_start, window_end, limit_nano_usd, settled_nano_usd
    )
    values (
      ${acme.organizationId}, ${`win_${hours}`}, ${acme.budgetId}, ${from}, ${to},
      ${limitNanoUsd}, ${settledNanoUsd}
    )
  `;
}

async function spend(settledNanoUsd: bigint): Promise<void> {
  await database.sql`update budget_windows set settled_nano_usd = ${settledNanoUsd}`;
}

/** What is logged by one run of the job. */
async function run(atHours = 0): Promise<string[]> {
  now = new Date(NOW.getTime() + atHours * HOUR_MS);
  events = [];
  await raiseAlerts.run({ sql: database.sql, writer: {} as Writer, clock, log });
  return events.sort();
}

const raised = (...kinds: string[]) => kinds.map((kind) => `alert.raised ${kind}`);
const resolved = (...kinds: string[]) => kinds.map((kind) => `alert.resolved ${kind}`);

describe("a hard cap", () => {
  test("is told at 50, 80 and 100%, each once, and not a nano-dollar sooner", async () => {
    await openWindow(50n * USD - 1n);
    expect(await run()).toEqual([]);
    await spend(50n * USD);
    expect(await run()).toEqual(raised("budget_half_used"));
    expect(await run(9)).toEqual([]);
    await spend(80n * USD - 1n);
    expect(await run(9)).toEqual([]);
    await spend(80n * USD);
    expect(await run(9)).toEqual(raised("budget_mostly_used"));
    await spend((995n * USD) / 10n - 1n);
    expect(await run(9.99)).toEqual([]);
    await spend((995n * USD) / 10n);
    expect(await run(9.99)).toEqual(raised("hard_cap_reached"));
    const [alert] = await database.sql`
      select subject, summary, details from alerts where kind = 'budget_mostly_used'
    `;
    expect(alert).toMatchObject({
      subject: acme.budgetId,
      summary: 'Budget "Platform team" is used to 80% or more: $99.5 of $100.',
      details: { percent: 80, limitUsd: "100", settledUsd: "99.5" },
    });
  });

  test("that falls below a threshold is told of it again in the next window only", async () => {
    await openWindow(81n * USD);
    await run(9);
    await spend(79n * USD);
    expect(await run(9)).toEqual(resolved("budget_mostly_used"));
    await spend(82n * USD);
    expect(await run(9)).toEqual([]);
    await openWindow(90n * USD, 100n * USD, 20);
    expect(await run(29)).toEqual([
      ...raised("budget_half_used", "budget_mostly_used"),
      // Nobody had looked between the two windows.
      ...resolved("budget_half_used"),
    ]);
  });

  test("whose limit is raised is told of the new one's thresholds", async () => {
    await openWindow(85n * USD);
    await run(9);
    await database.sql`update budget_windows set limit_nano_usd = ${200n * USD}`;
    expect(await run(9)).toEqual(resolved("budget_half_used", "budget_mostly_used"));
    await spend(160n * USD);
    expect(await run(9)).toEqual(raised("budget_half_used", "budget_mostly_used"));
  });

  test("without a cap, archived or of nothing at all is not told of", async () => {
    await openWindow(100n * USD);
    await database.sql`update policies set archived_at = ${NOW}`;
    expect(await run()).toEqual([]);
    await database.sql`update policies set archived_at = null`;
    await database.sql`update budget_windows set limit_nano_usd = 0`;
    expect(await run()).toEqual([]);
  });
});

test("a soft cap, and a hard one in shadow, is never told to refuse", async () => {
  await openWindow(100n * USD);
  await database.sql`update policies set mode = 'shadow'`;
  const kinds = ["budget_half_used", "budget_mostly_used", "soft_cap_reached"];
  expect(await run()).toEqual(raised(...kinds));
  await database.sql`update policies set mode = 'enforced', kind = 'soft_cap'`;
  expect(await run()).toEqual([]);
});

describe("a forecast", () => {
  test("is told when the pace does not last, once, and resolved when it does again", async () => {
    await openWindow(49n * USD, 97n * USD);
    expect(await run()).toEqual(raised("budget_forecast", "budget_half_used"));
    const [alert] = await database.sql`select details from alerts where kind = 'budget_forecast'`;
    // 10 h for 49 dollars: 97 dollars last 19.79 h of 20.
    expect(alert).toMatchObject({
      details: { usedUpAt: "2026-11-21T21:47:45.306Z", atEndUsd: "98" },
    });
    expect(await run(1)).toEqual(resolved("budget_forecast"));
    await spend(60n * USD);
    expect(await run(1)).toEqual([]);
  });

  const spending = (settled: bigint, limit: bigint, hours: number | null = 20) => ({
    windowStart: NOW,
    windowEnd: hours === null ? null : new Date(NOW.getTime() + hours * HOUR_MS),
    limitNanoUsd: limit,
    settledNanoUsd: settled,
  });
  const at = (hours: number) => new Date(NOW.getTime() + hours * HOUR_MS);

  test.each<[string, Parameters<typeof forecastOf>, unknown]>([
    ["too early", [spending(1n, 10n), at(0.99)], null],
    ["with nothing spent", [spending(0n, 10n), at(10)], null],
    ["in its first minute", [spending(5n, 10n, null), new Date(NOW.getTime() + 59_999)], null],
    ["just lasting", [spending(5n, 10n), at(10)], { usedUpAt: null, atEndNanoUsd: 10n }],
    ["just not", [spending(6n, 10n, 24), at(12)], { usedUpAt: at(20), atEndNanoUsd: 12n }],
    ["used up", [spending(20n, 10n), at(10)], { usedUpAt: at(5), atEndNanoUsd: 40n }],
    ["of a lifetime", [spending(5n, 10n, null), at(3)], { usedUpAt: at(6), atEndNanoUsd: null }],
    [
      "beyond all dates",
      [spending(1n, 10n ** 18n, null), at(1)],
      { usedUpAt: null, atEndNanoUsd: null },
    ],
  ])("%s", (_, [given, now], expected) => {
    expect(forecastOf(given, now)).toEqual(expected as ReturnType<typeof forecastOf>);
  });
});
