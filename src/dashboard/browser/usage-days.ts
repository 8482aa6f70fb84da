/** Daily usage made even: one row a day, days without calls included. Pure. */
import { type NanoUsd, sumNanoUsd } from "./amount.ts";
import type { DailyUsage } from "./answers.ts";
import { lastUtcDays, utcDay } from "./moment.ts";

/** How many days the chart shows. */
export const CHART_DAYS = 30;

/** How many days are asked for: the longest month, so that "this month" is complete. */
export const USAGE_DAYS = 31;

/** The days of the chart, oldest first; the server may leave out days without calls. */
export function chartDays(items: readonly DailyUsage[], nowMs: number): DailyUsage[] {
  const byDate = new Map(items.map((item) => [item.date, item]));
  return lastUtcDays(CHART_DAYS, nowMs).map(
    (date) => byDate.get(date) ?? { date, costUsd: 0n, calls: 0 },
  );
}

/** What was spent in the calendar month (UTC) of `nowMs`. */
export function spentThisMonth(items: readonly DailyUsage[], nowMs: number): NanoUsd {
  const month = utcDay(nowMs).slice(0, "2026-11".length);
  return sumNanoUsd(items.filter((item) => item.date.startsWith(month)).map((it) => it.costUsd));
}

export function countCalls(days: readonly DailyUsage[]): number {
  return days.reduce((total, day) => total + day.calls, 0);
}
