/** Periods that are counted from an anchor instead of the calendar. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { ANCHORED_PERIODS, isAnchor } from "../src/budgets/anchored-period.ts";
import { type BudgetWindow, type WindowRule, windowAt } from "../src/budgets/window.ts";

const ZONES = [
  "UTC",
  "America/New_York",
  "Europe/Berlin",
  "Australia/Lord_Howe",
  "America/Santiago",
  "Asia/Beirut",
  "Asia/Kathmandu",
  "Pacific/Apia",
];
const DAY_MS = 86_400_000;

function rule(fields: Partial<WindowRule>): WindowRule {
  return {
    id: "bud_01KAJ3M2YV8Q4T6W9ZB5C7D1E2",
    period: "month",
    timeZone: "UTC",
    startsAt: null,
    endsAt: null,
    createdAt: new Date("2026-01-01T00:00:00Z"),
    ...fields,
  };
}

function windowOf(of: WindowRule, at: Date): BudgetWindow {
  const window = windowAt(of, at);
  if (window === null) throw new Error("a period is always in force");
  return window;
}

test.each([
  ["week", "2026-11-01T00:00", "UTC", "2026-11-21T12:00Z", "2026-11-15", "2026-11-22"],
  ["week", "2030-01-06T00:00", "UTC", "2026-11-21T12:00Z", "2026-11-15", "2026-11-22"],
  ["month", "2026-01-15T00:00", "UTC", "2026-11-14T23:59Z", "2026-10-15", "2026-11-15"],
  ["month", "2026-01-31T00:00", "UTC", "2026-02-28T00:00Z", "2026-02-28", "2026-03-31"],
  ["month", "2026-01-31T00:00", "UTC", "2026-02-27T00:00Z", "2026-01-31", "2026-02-28"],
  ["month", "2026-01-31T00:00", "UTC", "2028-02-29T00:00Z", "2028-02-29", "2028-03-31"],
  ["quarter", "2026-02-01T00:00", "UTC", "2026-11-21T12:00Z", "2026-11-01", "2027-02-01"],
  ["year", "2020-04-01T00:00", "UTC", "2026-03-31T23:59Z", "2025-04-01", "2026-04-01"],
  ["year", "2024-02-29T00:00", "UTC", "2026-03-01T00:00Z", "2026-02-28", "2027-02-28"],
  ["day", "2026-01-01T06:00", "UTC", "2026-11-21T05:59Z", "2026-11-20T06", "2026-11-21T06"],
  // In spring the clock skips 02:30: that day begins at the next time there is.
  ["day", "2026-01-01T02:30", "Europe/Berlin", "2026-03-29T01:00Z", "2026-03-28T01:30", null],
  ["day", "2026-01-01T02:30", "Europe/Berlin", "2026-03-29T01:30Z", "2026-03-29T01:30", null],
  ["day", "2026-01-01T06:00", "America/New_York", "2026-03-08T12:00Z", "2026-03-08T10", null],
] as const)("a %s from %s in %s at %s", (period, anchor, timeZone, at, start, end) => {
  const window = windowOf(rule({ period, anchor, timeZone }), new Date(at));
  expect(window.start.toISOString().startsWith(start)).toBe(true);
  if (end !== null) expect(window.end?.toISOString().startsWith(end)).toBe(true);
});

describe("every window of an anchored period", () => {
  const instants = fc.integer({ min: Date.UTC(2005, 0), max: Date.UTC(2040, 0) });
  const anchors = fc
    .date({ min: new Date("1990-01-01"), max: new Date("2040-12-31"), noInvalidDate: true })
    .map((date) => date.toISOString().slice(0, 16));

  test("holds its instant and ends where the next one begins", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...ANCHORED_PERIODS),
        anchors,
        fc.constantFrom(...ZONES),
        instants,
        (period, anchor, timeZone, atMs) => {
          const of = rule({ period, anchor, timeZone });
          const window = windowOf(of, new Date(atMs));
          const endMs = window.end?.getTime() ?? 0;
          expect(window.start.getTime()).toBeLessThanOrEqual(atMs);
          expect(atMs).toBeLessThan(endMs);
          expect(windowOf(of, new Date(endMs)).start).toEqual(new Date(endMs));
          expect(windowOf(of, new Date(endMs - 1)).id).toBe(window.id);
          expect(windowOf(of, window.start).id).toBe(window.id);
          expect(windowOf(of, new Date(window.start.getTime() - 1)).end).toEqual(window.start);
        },
      ),
      { numRuns: 3_000 },
    );
  });

  test("is the calendar's when the anchor is a calendar's beginning", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...ANCHORED_PERIODS),
        fc.constantFrom("UTC", "Europe/Berlin", "Asia/Kathmandu", "America/New_York"),
        instants,
        (period, timeZone, atMs) => {
          const at = new Date(atMs);
          // A Monday, the first of a month, a quarter and a year.
          const anchored = windowOf(rule({ period, timeZone, anchor: "2018-01-01T00:00" }), at);
          expect(anchored).toEqual(windowOf(rule({ period, timeZone }), at));
        },
      ),
      { numRuns: 2_000 },
    );
  });

  test("costs little a day or a hundred years away from the anchor", () => {
    const of = rule({ period: "day", anchor: "1926-01-01T00:00" });
    const startedMs = performance.now();
    for (let day = 0; day < 100; day++) windowOf(of, new Date(Date.UTC(2026, 0) + day * DAY_MS));
    expect(performance.now() - startedMs).toBeLessThan(1_000);
  });
});

test.each(["2026-02-30T00:00", "2026-04-01", "2026-04-01T00:00Z", "2026-13-01T00:00", "x", ""])(
  "%p is no anchor",
  (text) => {
    expect(isAnchor(text)).toBe(false);
  },
);
