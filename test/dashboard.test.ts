import { describe, expect, test } from "bun:test";
import { loadDashboardAssets } from "../src/dashboard/assets.ts";
import {
  formatDollars,
  parseUsd,
  sharePercent,
  splitDollars,
} from "../src/dashboard/browser/amount.ts";
import type { Budget, LedgerEntry, LedgerPage } from "../src/dashboard/browser/answers.ts";
import { canLoadOlder, joinNewest, joinOlder } from "../src/dashboard/browser/ledger-pages.ts";
import { agoWords, lastUtcDays, untilWords } from "../src/dashboard/browser/moment.ts";
import { axisLabel } from "../src/dashboard/browser/parts/spend-plot.ts";
import { barWidths, byUrgency, standingOf } from "../src/dashboard/browser/standing.ts";
import { chartDays, countCalls, spentThisMonth } from "../src/dashboard/browser/usage-days.ts";

const NOW_MS = Date.parse("2026-11-21T09:25:00Z");

describe("amounts in the browser", () => {
  test.each([
    ["0", "$0.00"],
    ["0.000315", "$0.000315"],
    ["0.000000001", "$0.000000001"],
    ["12.5", "$12.50"],
    ["1234567.125", "$1,234,567.125"],
    ["-1200", "−$1,200.00"],
    ["9007199254740993.000000001", "$9,007,199,254,740,993.000000001"],
  ])("%s is printed exactly as %s", (text, printed) => {
    expect(formatDollars(parseUsd(text))).toBe(printed);
  });

  test.each(["", "1e3", "0.0000000001", "1,000", " 1", "$1", "NaN"])("%p is refused", (text) => {
    expect(() => parseUsd(text)).toThrow(RangeError);
  });

  test("an amount is split at the cent", () => {
    expect(splitDollars(parseUsd("0.0412"))).toEqual({ cents: "$0.04", belowCent: "12" });
  });

  test("a share is a percentage between 0 and 100", () => {
    expect(sharePercent(1n, 3n)).toBe(33.33);
    expect(sharePercent(4n, 3n)).toBe(100);
    expect(sharePercent(-1n, 3n)).toBe(0);
    expect(sharePercent(1n, 0n)).toBe(0);
  });
});

describe("the standing of a budget", () => {
  test.each([
    [{ settled: "50", held: "10" }, "calm", 60],
    [{ settled: "80", held: "10" }, "near", 90],
    [{ settled: "99.999999999", held: "0" }, "near", 99],
    [{ settled: "90", held: "10" }, "full", 100],
    [{ settled: "90", held: "10.000000001" }, "over", 100],
  ])("%p of 100 is %s", ({ settled, held }, level, usedPercent) => {
    expect(standingOf(budget("a", settled, held))).toMatchObject({ level, usedPercent });
  });

  test("over its limit, the bar is all that is used and its end is what is over", () => {
    const standing = standingOf(budget("a", "120", "80"));
    expect(barWidths(standing)).toEqual({ settledPercent: 60, heldPercent: 40, overPercent: 50 });
    expect(standing.leftNanoUsd).toBe(0n);
  });

  test("a window that has not opened has everything left", () => {
    const standing = standingOf({ ...budget("a", "0", "0"), window: null });
    expect(formatDollars(standing.leftNanoUsd)).toBe("$100.00");
  });

  test("the most urgent comes first", () => {
    const budgets = [
      budget("calm", "1", "0"),
      budget("over", "101", "0"),
      budget("full", "100", "0"),
    ];
    expect(byUrgency(budgets).map(({ name }) => name)).toEqual(["over", "full", "calm"]);
  });
});

describe("the ledger on the page", () => {
  test("newer entries come before those shown, without repetition", () => {
    const joined = joinNewest(ledger(["c", "b", "a"], "older"), ledger(["e", "d", "c"], "x"));
    expect(ids(joined)).toEqual(["e", "d", "c", "b", "a"]);
    expect(joined.nextCursor).toBe("older");
  });

  test("where something is missing in between, the list starts anew", () => {
    const newest = ledger(["z", "y"], "x");
    expect(joinNewest(ledger(["b", "a"], "older"), newest)).toBe(newest);
  });

  test("older entries follow, unless the list has started anew meanwhile", () => {
    const shown = ledger(["c", "b"], "1");
    expect(ids(joinOlder(shown, ledger(["b", "a"], null), "1"))).toEqual(["c", "b", "a"]);
    expect(joinOlder(shown, ledger(["a"], null), "0")).toBe(shown);
  });

  test("no more than 500 entries are shown", () => {
    const many = Array.from({ length: 500 }, (_, index) => String(index));
    expect(canLoadOlder(ledger(many, "next"))).toBe(false);
    expect(canLoadOlder(ledger(many.slice(1), "next"))).toBe(true);
    expect(canLoadOlder(ledger(["a"], null))).toBe(false);
  });
});

describe("days and spans", () => {
  const usage = [
    { date: "2026-10-22", costUsd: 5n, calls: 1 },
    { date: "2026-10-31", costUsd: 7n, calls: 2 },
    { date: "2026-11-01", costUsd: 11n, calls: 3 },
    { date: "2026-11-21", costUsd: 13n, calls: 4 },
  ];

  test("the chart has thirty days, those without calls included", () => {
    const days = chartDays(usage, NOW_MS);
    expect(days).toHaveLength(30);
    expect(days[0]).toEqual({ date: "2026-10-23", costUsd: 0n, calls: 0 });
    expect(countCalls(days)).toBe(9);
  });

  test("this month is the calendar month in UTC", () => {
    expect(spentThisMonth(usage, NOW_MS)).toBe(24n);
    expect(lastUtcDays(2, Date.parse("2026-12-01T00:00:00Z"))).toEqual([
      "2026-11-30",
      "2026-12-01",
    ]);
  });

  test("spans are said in words", () => {
    expect([0, 5_000, 125_000, 7_300_000].map(agoWords)).toEqual([
      ...["just now", "5 s ago", "2 min ago", "2 h ago"],
    ]);
    expect([-5, 300_000, 111_600_000, 777_600_000].map(untilWords)).toEqual([
      ...["in a moment", "in 5 min", "in 31 h", "in 9 days"],
    ]);
  });

  test("labels of the dollar axis tell its steps apart", () => {
    expect(axisLabel(1_500, 500)).toBe("$1,500");
    expect(axisLabel(0.5, 0.25)).toBe("$0.50");
    expect(axisLabel(0.0005, 0.0005)).toBe("$0.0005");
  });
});

describe("the dashboard's files", () => {
  test("the page refers to files that exist, and to no other host", async () => {
    const assets = await loadDashboardAssets();
    const html = await textOf(assets.get("/")?.body);
    const references = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path = ""]) => path);
    expect(references).toHaveLength(3);
    for (const path of references) expect(assets.has(path)).toBe(true);
    expect(assets.size).toBe(references.length + 1);
  });

  test("the page is asked for anew each time, and hashed files never again", async () => {
    const assets = await loadDashboardAssets();
    for (const [path, { headers }] of assets) {
      const isPage = path === "/";
      const expected = isPage ? "no-cache" : "public, max-age=31536000, immutable";
      expect(headers["cache-control"]).toBe(expected);
      expect(headers["etag"] !== undefined).toBe(isPage);
      expect(headers["content-security-policy"]).toContain("frame-ancestors 'none'");
      expect(headers["x-content-type-options"]).toBe("nosniff");
    }
  });
});

async function textOf(body: Uint8Array<ArrayBuffer> | Blob | undefined): Promise<string> {
  if (body === undefined) throw new Error("there is no page");
  return await new Blob([body]).text();
}

function budget(name: string, settled: string, held: string): Budget {
  const limitUsd = parseUsd("100");
  const settledUsd = parseUsd(settled);
  const heldUsd = parseUsd(held);
  const leftUsd = limitUsd - settledUsd - heldUsd;
  const scope = { kind: "team", id: "team_1", name: "Platform" };
  const window = { start: "2026-11-01T00:00:00Z", limitUsd, settledUsd, heldUsd, leftUsd };
  return { id: name, name, scope, amountUsd: limitUsd, period: "month", timeZone: "UTC", window };
}

function ledger(entryIds: string[], nextCursor: string | null): LedgerPage {
  return { items: entryIds.map(entry), nextCursor };
}

function entry(id: string): LedgerEntry {
  return { id, occurredAt: "2026-11-21T09:25:00Z", kind: "settlement", amountUsd: 1n };
}

function ids(page: LedgerPage): string[] {
  return page.items.map(({ id }) => id);
}
