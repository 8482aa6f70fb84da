/** Windows of budgets: calendar periods by the budget's own clock, in every kind of zone. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { type Cap, type GovernancePolicies, windowsOf } from "../src/budgets/applicable.ts";
import {
  type BudgetPeriod,
  type BudgetWindow,
  type WindowRule,
  windowAt,
} from "../src/budgets/window.ts";

const BUDGET_ID = "bud_01KAJ3M0000000000000000000";
const CALENDAR_PERIODS = ["hour", "day", "week", "month", "quarter", "year"] as const;

/** Half and quarter hours, both hemispheres, midnights that do not exist, a skipped day. */
const ZONES = [
  "UTC",
  "America/New_York",
  "Europe/Berlin",
  "Asia/Kathmandu",
  "Australia/Lord_Howe",
  "America/Santiago",
  "Asia/Beirut",
  "America/Havana",
  "Pacific/Apia",
  "Pacific/Kiritimati",
  "Africa/Casablanca",
  "America/St_Johns",
] as const;

function rule(fields: Partial<WindowRule> = {}): WindowRule {
  return {
    id: BUDGET_ID,
    period: "month",
    timeZone: "UTC",
    startsAt: null,
    endsAt: null,
    createdAt: new Date("2026-01-15T10:30:00Z"),
    ...fields,
  };
}

function windowOf(period: BudgetPeriod, timeZone: string, at: string): BudgetWindow {
  const window = windowAt(rule({ period, timeZone }), new Date(at));
  if (window === null) {
    throw new Error(`no ${period} at ${at}`);
  }
  return window;
}

function bounds({ start, end }: BudgetWindow): string {
  const short = (date: Date | null) => date?.toISOString().replace(":00.000Z", "Z") ?? "never";
  return `${short(start)} ${short(end)}`;
}

describe("a period", () => {
  test.each([
    ["hour", "UTC", "2026-11-21T12:59:59.999Z", "2026-11-21T12:00Z 2026-11-21T13:00Z"],
    ["hour", "UTC", "2026-11-21T13:00:00.000Z", "2026-11-21T13:00Z 2026-11-21T14:00Z"],
    ["day", "UTC", "2026-11-21T23:59:59.999Z", "2026-11-21T00:00Z 2026-11-22T00:00Z"],
    ["week", "UTC", "2026-11-22T23:59:59.999Z", "2026-11-16T00:00Z 2026-11-23T00:00Z"],
    ["week", "UTC", "2026-11-23T00:00:00.000Z", "2026-11-23T00:00Z 2026-11-30T00:00Z"],
    // A week lies across the year's end.
    ["week", "UTC", "2027-01-01T00:00:00.000Z", "2026-12-28T00:00Z 2027-01-04T00:00Z"],
    ["month", "UTC", "2026-11-30T23:59:59.999Z", "2026-11-01T00:00Z 2026-12-01T00:00Z"],
    ["month", "UTC", "2026-12-31T00:00:00.000Z", "2026-12-01T00:00Z 2027-01-01T00:00Z"],
    // Leap days.
    ["day", "UTC", "2028-02-29T12:00:00.000Z", "2028-02-29T00:00Z 2028-03-01T00:00Z"],
    ["month", "UTC", "2028-02-29T12:00:00.000Z", "2028-02-01T00:00Z 2028-03-01T00:00Z"],
    ["month", "UTC", "2026-02-28T12:00:00.000Z", "2026-02-01T00:00Z 2026-03-01T00:00Z"],
    ["year", "UTC", "2028-02-29T12:00:00.000Z", "2028-01-01T00:00Z 2029-01-01T00:00Z"],
    ["quarter", "UTC", "2026-01-01T00:00:00.000Z", "2026-01-01T00:00Z 2026-04-01T00:00Z"],
    ["quarter", "UTC", "2026-05-31T12:00:00.000Z", "2026-04-01T00:00Z 2026-07-01T00:00Z"],
    ["quarter", "UTC", "2026-12-31T23:59:59.999Z", "2026-10-01T00:00Z 2027-01-01T00:00Z"],
    ["year", "UTC", "2026-12-31T23:59:59.999Z", "2026-01-01T00:00Z 2027-01-01T00:00Z"],
  ] as const)("%s in %s at %s is %s", (period, timeZone, at, expected) => {
    expect(bounds(windowOf(period, timeZone, at))).toBe(expected);
  });

  test("of all time begins with the budget and never ends", () => {
    const lifetime = rule({ period: "lifetime" });
    const early = windowAt(lifetime, new Date("2026-01-15T10:30:00Z"));
    const late = windowAt(lifetime, new Date("2096-01-01T00:00:00Z"));
    expect(early).toEqual(late);
    expect(early && bounds(early)).toBe("2026-01-15T10:30Z never");
  });
});

describe("a fixed range", () => {
  const startsAt = new Date("2026-03-01T09:00:00Z");
  const endsAt = new Date("2026-03-15T18:00:00Z");
  const fixed = rule({ period: "fixed", startsAt, endsAt });

  test.each([
    ["before its start", startsAt.getTime() - 1, false],
    ["at its start", startsAt.getTime(), true],
    ["before its end", endsAt.getTime() - 1, true],
    ["at its end", endsAt.getTime(), false],
  ])("%s: in force is %p", (_, atMs, isInForce) => {
    const window = windowAt(fixed, new Date(atMs));
    expect(window !== null).toBe(isInForce);
    expect(window?.end ?? endsAt).toEqual(endsAt);
  });

  test("without both ends is never in force", () => {
    expect(windowAt({ ...fixed, endsAt: null }, startsAt)).toBeNull();
    expect(windowAt({ ...fixed, startsAt: null }, startsAt)).toBeNull();
  });
});

describe("a change of the clock", () => {
  test.each([
    // Spring: 23 hours. Autumn: 25.
    ["day", "America/New_York", "2026-03-08T12:00Z", "2026-03-08T05:00Z 2026-03-09T04:00Z"],
    ["day", "America/New_York", "2026-11-01T12:00Z", "2026-11-01T04:00Z 2026-11-02T05:00Z"],
    ["day", "Europe/Berlin", "2026-03-29T12:00Z", "2026-03-28T23:00Z 2026-03-29T22:00Z"],
    ["day", "Europe/Berlin", "2026-10-25T12:00Z", "2026-10-24T22:00Z 2026-10-25T23:00Z"],
    ["week", "Europe/Berlin", "2026-10-25T12:00Z", "2026-10-18T22:00Z 2026-10-25T23:00Z"],
    ["month", "America/New_York", "2026-03-20T12:00Z", "2026-03-01T05:00Z 2026-04-01T04:00Z"],
    ["quarter", "America/New_York", "2026-01-20T12:00Z", "2026-01-01T05:00Z 2026-04-01T04:00Z"],
    ["year", "Europe/Berlin", "2026-07-01T12:00Z", "2025-12-31T23:00Z 2026-12-31T23:00Z"],
    // Half an hour.
    ["day", "Australia/Lord_Howe", "2026-04-04T15:10Z", "2026-04-04T13:00Z 2026-04-05T13:30Z"],
    ["day", "Australia/Lord_Howe", "2026-10-04T00:00Z", "2026-10-03T13:30Z 2026-10-04T13:00Z"],
    // No change, but three quarters of an hour off.
    ["day", "Asia/Kathmandu", "2026-11-21T18:15Z", "2026-11-21T18:15Z 2026-11-22T18:15Z"],
    ["hour", "Asia/Kathmandu", "2026-11-21T18:20Z", "2026-11-21T18:15Z 2026-11-21T19:15Z"],
    // These days begin at 01:00, because their midnight does not exist.
    ["day", "America/Santiago", "2026-09-06T12:00Z", "2026-09-06T04:00Z 2026-09-07T03:00Z"],
    ["day", "Asia/Beirut", "2026-03-29T12:00Z", "2026-03-28T22:00Z 2026-03-29T21:00Z"],
    // Here the midnight comes twice, and the first one counts.
    ["day", "America/Havana", "2026-11-01T12:00Z", "2026-11-01T04:00Z 2026-11-02T05:00Z"],
    // Samoa had no 30 December 2011.
    ["day", "Pacific/Apia", "2011-12-29T12:00Z", "2011-12-29T10:00Z 2011-12-30T10:00Z"],
    ["day", "Pacific/Apia", "2011-12-30T12:00Z", "2011-12-30T10:00Z 2011-12-31T10:00Z"],
    ["week", "Pacific/Apia", "2011-12-30T12:00Z", "2011-12-26T10:00Z 2012-01-01T10:00Z"],
  ] as const)("%s in %s at %s is %s", (period, timeZone, at, expected) => {
    expect(bounds(windowOf(period, timeZone, at))).toBe(expected);
  });

  test("that repeats an hour makes two windows of it", () => {
    const first = windowOf("hour", "America/New_York", "2026-11-01T05:30:00Z");
    const second = windowOf("hour", "America/New_York", "2026-11-01T06:30:00Z");
    expect(bounds(first)).toBe("2026-11-01T05:00Z 2026-11-01T06:00Z");
    expect(bounds(second)).toBe("2026-11-01T06:00Z 2026-11-01T07:00Z");
  });

  test.each([
    // 02:00 becomes 01:30: a whole hour, then the half that is repeated, then 02:00.
    ["2026-04-04T14:59:59.999Z", "2026-04-04T14:00Z 2026-04-04T15:00Z"],
    ["2026-04-04T15:00:00.000Z", "2026-04-04T15:00Z 2026-04-04T15:30Z"],
    ["2026-04-04T15:29:59.999Z", "2026-04-04T15:00Z 2026-04-04T15:30Z"],
    ["2026-04-04T15:30:00.000Z", "2026-04-04T15:30Z 2026-04-04T16:30Z"],
    // 02:00 becomes 02:30: the hour from two has half an hour left.
    ["2026-10-03T15:29:59.999Z", "2026-10-03T14:30Z 2026-10-03T15:30Z"],
    ["2026-10-03T15:30:00.000Z", "2026-10-03T15:30Z 2026-10-03T16:00Z"],
    ["2026-10-03T16:00:00.000Z", "2026-10-03T16:00Z 2026-10-03T17:00Z"],
  ])("of half an hour never makes hours overlap: %s is in %s", (at, expected) => {
    expect(bounds(windowOf("hour", "Australia/Lord_Howe", at))).toBe(expected);
  });
});

describe("every window", () => {
  const periods = fc.constantFrom(...CALENDAR_PERIODS);
  const zones = fc.constantFrom(...ZONES);
  /** Any instant, and those around each change of the clock. */
  const instants = fc.date({
    min: new Date("2011-01-01T00:00:00Z"),
    max: new Date("2036-01-01T00:00:00Z"),
    noInvalidDate: true,
  });

  function expectTiled(period: BudgetPeriod, timeZone: string, at: Date): void {
    const one = windowAt(rule({ period, timeZone }), at);
    const endMs = one?.end?.getTime() ?? Number.NaN;
    const startMs = one?.start.getTime() ?? Number.NaN;
    const message = `${period} in ${timeZone} at ${at.toISOString()}`;
    expect(startMs, message).toBeLessThanOrEqual(at.getTime());
    expect(endMs, message).toBeGreaterThan(at.getTime());
    for (const insideMs of [startMs, endMs - 1]) {
      expect(windowAt(rule({ period, timeZone }), new Date(insideMs)), message).toEqual(one);
    }
    const next = windowAt(rule({ period, timeZone }), new Date(endMs));
    expect(next?.start.getTime(), message).toBe(endMs);
    expect(next?.id, message).not.toBe(one?.id ?? "");
    const previous = windowAt(rule({ period, timeZone }), new Date(startMs - 1));
    expect(previous?.end?.getTime(), message).toBe(startMs);
    expect(previous?.id, message).not.toBe(one?.id ?? "");
  }

  test("holds its instant, keeps its id, and ends where the next one begins", () => {
    fc.assert(
      fc.property(periods, zones, instants, (period, timeZone, at) => {
        expectTiled(period, timeZone, at);
      }),
      { numRuns: 1_000 },
    );
  });

  test("does so around each change of each clock, minute by minute at the change", () => {
    for (const timeZone of ZONES) {
      let change = Temporal.Instant.from("2025-12-31T00:00Z")
        .toZonedDateTimeISO(timeZone)
        .getTimeZoneTransition("next");
      for (let count = 0; change !== null && count < 2; count++) {
        for (const minutes of [-90, -60, -45, -30, -15, -1, 0, 1, 15, 29, 30, 31, 45, 60, 90]) {
          const at = new Date(change.epochMilliseconds + minutes * 60_000);
          for (const period of CALENDAR_PERIODS) {
            expectTiled(period, timeZone, at);
            expectTiled(period, timeZone, new Date(at.getTime() - 1));
          }
        }
        change = change.getTimeZoneTransition("next");
      }
    }
  });

  test("has an id of its budget and its start", () => {
    const { id, budgetId } = windowOf("month", "Asia/Kathmandu", "2026-11-21T12:00:00Z");
    expect(id).toBe("win_01KAJ3M0000000000000000000_20261031T181500Z");
    expect(budgetId).toBe(BUDGET_ID);
    const other = rule({ id: "bud_01KAJ3M0000000000000000001", timeZone: "Asia/Kathmandu" });
    expect(windowAt(other, new Date("2026-11-21T12:00:00Z"))?.id).not.toBe(id);
  });
});

describe("the windows of a call", () => {
  const SELECTION = { provider: "openai", model: "gpt-4o", environment: "production" };

  function cap(fields: Partial<Cap> = {}): Cap {
    return {
      policyId: "pol_1",
      policyName: "Cap",
      isHard: true,
      isShadow: false,
      budgetId: BUDGET_ID,
      budgetName: "Test",
      scope: { kind: "organization", id: "org_1" },
      provider: null,
      model: null,
      environment: null,
      period: "hour",
      timeZone: "UTC",
      anchor: null,
      startsAt: null,
      endsAt: null,
      createdAt: new Date("2026-01-15T10:30:00Z"),
      ...fields,
    };
  }

  function policies(...caps: Cap[]): GovernancePolicies {
    return {
      caps,
      rateLimits: [],
      allowlists: [],
      requestLimits: [],
      requestMaxNanoUsd: null,
      reviews: [],
      shadow: null,
      increaseEndsAt: null,
    };
  }

  function windowsAt(of: GovernancePolicies, at: string): string[] {
    return windowsOf(of, SELECTION, new Date(at)).hard.map(({ window }) => bounds(window));
  }

  test("change with the clock, at the millisecond, also when it is set back", () => {
    const hourly = policies(cap());
    const twelve = "2026-11-21T12:00Z 2026-11-21T13:00Z";
    const one = "2026-11-21T13:00Z 2026-11-21T14:00Z";
    expect(windowsAt(hourly, "2026-11-21T12:00:00.000Z")).toEqual([twelve]);
    expect(windowsAt(hourly, "2026-11-21T12:59:59.999Z")).toEqual([twelve]);
    expect(windowsAt(hourly, "2026-11-21T13:00:00.000Z")).toEqual([one]);
    expect(windowsAt(hourly, "2026-11-21T12:59:59.999Z")).toEqual([twelve]);
    expect(windowsAt(hourly, "2026-11-20T12:30:00.000Z")).toEqual([
      "2026-11-20T12:00Z 2026-11-20T13:00Z",
    ]);
    expect(windowsAt(hourly, "2026-11-21T13:00:00.001Z")).toEqual([one]);
  });

  test("of a fixed range are none before it and after it, whenever it was asked", () => {
    const range = policies(
      cap({
        period: "fixed",
        startsAt: new Date("2026-03-01T09:00:00Z"),
        endsAt: new Date("2026-03-15T18:00:00Z"),
      }),
    );
    const inside = ["2026-03-01T09:00Z 2026-03-15T18:00Z"];
    expect(windowsAt(range, "2026-03-01T08:59:59.999Z")).toEqual([]);
    expect(windowsAt(range, "2026-03-01T09:00:00.000Z")).toEqual(inside);
    expect(windowsAt(range, "2026-03-15T18:00:00.000Z")).toEqual([]);
    expect(windowsAt(range, "2026-03-15T17:59:59.999Z")).toEqual(inside);
    expect(windowsAt(range, "2026-02-01T00:00:00.000Z")).toEqual([]);
  });

  test("are those of the policies that are in force, not of the ones before", () => {
    const at = "2026-11-21T12:30:00.000Z";
    expect(windowsAt(policies(cap()), at)).toEqual(["2026-11-21T12:00Z 2026-11-21T13:00Z"]);
    expect(windowsAt(policies(cap({ period: "day" })), at)).toEqual([
      "2026-11-21T00:00Z 2026-11-22T00:00Z",
    ]);
    expect(windowsAt(policies(cap({ timeZone: "Asia/Kathmandu" })), at)).toEqual([
      "2026-11-21T12:15Z 2026-11-21T13:15Z",
    ]);
  });

  test("are equal to windows that are counted anew, for any walk of the clock", () => {
    const caps = CALENDAR_PERIODS.map((period, index) =>
      cap({ period, budgetId: `bud_${index}`, timeZone: ZONES[index] ?? "UTC" }),
    );
    const remembered = policies(...caps);
    const steps = fc.array(fc.integer({ min: -90 * 60_000, max: 40 * 86_400_000 }), {
      maxLength: 20,
    });
    fc.assert(
      fc.property(steps, (walk) => {
        let atMs = Date.parse("2026-10-24T00:00:00Z");
        for (const stepMs of walk) {
          atMs += stepMs;
          const at = new Date(atMs);
          const anew = policies(...caps.map((each) => ({ ...each })));
          expect(windowsOf(remembered, SELECTION, at)).toEqual(windowsOf(anew, SELECTION, at));
        }
      }),
    );
  });
});
