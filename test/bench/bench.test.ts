/** The bench measures what it says, and judges by the numbers. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { tmpdir } from "node:os";
import { isId, timeOfId } from "../../src/id.ts";
import { verifyLedger } from "../../src/ledger/verify.ts";
import { foundCompany } from "../node.ts";
import { type TestDatabase, testDatabase } from "../postgres.ts";
import type { CallRow } from "./calls.ts";
import { fillLedger, NoRoomError, requireRoom } from "./ledger.ts";
import { median } from "./measure.ts";
import { readOptions } from "./options.ts";
import { drawShares } from "./plot.ts";
import { markdownOf, type Results } from "./report.ts";
import { verdictsOf } from "./targets.ts";

describe("a ledger that was filled", () => {
  const rows = 25_000;
  let database: TestDatabase;

  beforeAll(async () => {
    database = await testDatabase();
    const company = await foundCompany(database.sql, "http://127.0.0.1:1/v1");
    await fillLedger(database.sql, company, { rows, days: 60, log: () => {} });
    await database.sql`analyze`;
  });
  afterAll(async () => {
    await database.drop();
  });

  test("has a row a call in every table that grows with calls", async () => {
    const [counts] = await database.sql`
      select
        (select count(*)::int from reservations where status = 'settled') as reservations,
        (select count(*)::int from spend_events) as events,
        (select count(*)::int from ledger_entries) as entries,
        (select count(*)::int from gateway_requests) as requests,
        (select sum(calls)::int from usage_daily) as calls,
        (select sum(entry_count)::int from ledger_seals) as sealed
    `;
    expect(counts).toEqual({
      reservations: rows,
      events: rows,
      entries: rows,
      requests: rows,
      calls: rows,
      sealed: rows,
    });
  });

  test("has ids that carry the time of their row", async () => {
    const made = await database.sql<{ id: string; reservedAt: Date }[]>`
      select id, reserved_at as "reservedAt" from reservations order by id
    `;
    expect(made.every(({ id }) => isId("reservation", id))).toBe(true);
    expect(made.map(({ id }) => timeOfId(id))).toEqual(made.map(({ reservedAt }) => reservedAt));
  });

  test("passes every proof of the book but the windows, which it has none of", async () => {
    const { differences } = await verifyLedger(database.sql, {
      organizationId: null,
      onProgress: () => {},
    });
    expect(new Set(differences.listed.map(({ code }) => code))).toEqual(
      new Set(["window_missing"]),
    );
  });
});

test("a ledger that the disk has no room for is refused", async () => {
  const refusal = await requireRoom(tmpdir(), 1e12).catch((error: unknown) => error);
  expect(refusal).toBeInstanceOf(NoRoomError);
});

test("the median of two is between them", () => {
  expect([median([1, 3]), median([5, 1, 2]), median([])]).toEqual([2, 2, Number.NaN]);
});

test.each([
  ["--rows", "0"],
  ["--rows", "many"],
  ["--minutes", "-1"],
  ["--only", "x"],
  ["--peers", "x"],
])("%s %s is refused", (name, value) => {
  expect(() => readOptions([`${name}=${value}`])).toThrow();
});

describe("a report", () => {
  test("says of each target whether it was met, missed or not measured", () => {
    const results = { ...nothing, calls: callsOf(0.6), ledger: ledgerOf(0.89, 50_000_000) };
    const met = new Map(verdictsOf(results).map(({ target, verdict }) => [target, verdict?.isMet]));
    expect(met.get("≥ 0.6 of the plain Bun proxy, 64 whole")).toBe(true);
    expect(met.get("≥ 10 × Portkey, 64 whole")).toBe(false);
    expect(met.get("calls/s with a ledger of 50 million ≥ 0.9 of empty")).toBe(false);
    expect(met.get("≥ 5,000 records/s replayed from a spool")).toBeUndefined();
    expect(markdownOf(results)).toMatch(/replayed from a spool +\| not measured +\| – /);
  });

  test.each([
    [0.9, 50_000_000, true],
    [0.9, 1_000_000, null],
    [0.89, 1_000_000, false],
  ])("judges %p of the calls at %p entries: %p", (ratio, rows, isMet) => {
    const verdicts = verdictsOf({ ...nothing, ledger: ledgerOf(ratio, rows) });
    const verdict = verdicts.find(({ target }) => target.includes("50 million"))?.verdict;
    expect(verdict?.isMet).toBe(isMet);
  });

  test("prints no number that is none", () => {
    const open = callsOf(0.6).map((row) => ({ ...row, loop: "open" as const }));
    expect(markdownOf({ ...nothing, calls: [...callsOf(0.6), ...open] })).not.toContain("NaN");
  });

  test("draws a line for each server that was measured", () => {
    const plot = drawShares(callsOf(0.6));
    expect(plot.match(/<polyline/g)).toHaveLength(3);
    expect(plot).not.toContain("NaN");
  });
});

const nothing: Results = {
  machine: "",
  measuredAt: "",
  node: "",
  seconds: 0,
  reservations: [],
  replay: [],
  calls: [],
  memory: [],
  ledger: [],
  skipped: [],
};

function ledgerOf(ratio: number, rows: number): Results["ledger"] {
  return [
    { rows: 0, perSecond: 1_000, p50Ms: 1, p99Ms: 2 },
    { rows, perSecond: 1_000 * ratio, p50Ms: 1, p99Ms: 2 },
  ];
}

/** Whole calls at 64 at a time: the node at this share of the plain proxy, Portkey at a tenth. */
function callsOf(share: number): CallRow[] {
  const common = { concurrency: 64, isStreaming: false, upstreamDelayMs: 0, rounds: 1 };
  const latency = { p50Ms: 1, p99Ms: 2, firstByteP50Ms: 1, firstByteP99Ms: 2 };
  const counts = { answers: 1, failures: 0, firstFailure: null };
  const cpu = { cpuMicroseconds: 1, ownCpuMicroseconds: 1 };
  return Object.entries({ "plain proxy": 1, Spendra: share, Portkey: 0.1 }).map(
    ([target, part]): CallRow => ({
      ...common,
      ...latency,
      ...counts,
      ...cpu,
      target,
      loop: "closed",
      perSecond: 10_000 * part,
    }),
  );
}
