/**
 * Which period of a budget an instant falls into. Pure. Calendar periods begin at local midnight of
 * the budget's zone, so that a month has 28 to 31 days and a day in spring may have 23 hours. A
 * period is `[start, end)`; the next one is another row, and nothing is ever reset.
 */
import { idSuffix } from "../id.ts";
import { anchoredPeriod } from "./anchored-period.ts";

export type BudgetPeriod =
  | "hour"
  | "day"
  | "week"
  | "month"
  | "quarter"
  | "year"
  | "fixed"
  | "lifetime";

/** What of a budget decides its windows. `startsAt` and `endsAt` are set for a fixed range. */
export type WindowRule = {
  readonly id: string;
  readonly period: BudgetPeriod;
  readonly timeZone: string;
  /** Local date and time from which periods are counted; without one, the calendar's. */
  readonly anchor?: string | null;
  readonly startsAt: Date | null;
  readonly endsAt: Date | null;
  readonly createdAt: Date;
};

export type BudgetWindow = {
  readonly id: string;
  readonly budgetId: string;
  readonly start: Date;
  /** Null for a lifetime. */
  readonly end: Date | null;
};

const MONTHS_PER_QUARTER = 3;

/** Answers null when a fixed range has not begun or is over: the budget is not in force then. */
export function windowAt(rule: WindowRule, at: Date): BudgetWindow | null {
  if (rule.period === "lifetime") {
    return toWindow(rule, rule.createdAt, null);
  }
  if (rule.period === "fixed") {
    const { startsAt, endsAt } = rule;
    const isInside = startsAt !== null && endsAt !== null && startsAt <= at && at < endsAt;
    return isInside ? toWindow(rule, startsAt, endsAt) : null;
  }
  const local = Temporal.Instant.fromEpochMilliseconds(at.getTime()).toZonedDateTimeISO(
    rule.timeZone,
  );
  const [start, end] = periodOf(rule.period, rule.anchor ?? null, local);
  return toWindow(rule, new Date(start.epochMilliseconds), new Date(end.epochMilliseconds));
}

/** Whether an instant falls into the window: `[start, end)`. */
export function isWithin(window: BudgetWindow, at: Date): boolean {
  return window.start <= at && (window.end === null || at < window.end);
}

function periodOf(
  period: Exclude<BudgetPeriod, "fixed" | "lifetime">,
  anchor: string | null,
  local: Temporal.ZonedDateTime,
): [Temporal.ZonedDateTime, Temporal.ZonedDateTime] {
  if (period === "hour") {
    return clockHour(local);
  }
  return anchor === null ? calendarPeriod(period, local) : anchoredPeriod(period, anchor, local);
}

/**
 * The hour that the local clock shows. Counted in elapsed time: the hour that autumn repeats is two
 * windows. Where a change of the clock falls into an hour (Lord Howe changes by 30 minutes), the
 * window ends or begins there, so that windows never overlap.
 */
function clockHour(
  local: Temporal.ZonedDateTime,
): [Temporal.ZonedDateTime, Temporal.ZonedDateTime] {
  const sinceHour = { minutes: local.minute, seconds: local.second };
  const start = local.subtract({ ...sinceHour, milliseconds: local.millisecond });
  const end = start.add({ hours: 1 });
  const lastMoment = end.subtract({ milliseconds: 1 });
  // The search for a change is slow, so it is only made where there is one.
  const change = (from: Temporal.ZonedDateTime) => from.getTimeZoneTransition("next");
  return [
    start.offsetNanoseconds === local.offsetNanoseconds ? start : (change(start) ?? start),
    lastMoment.offsetNanoseconds === local.offsetNanoseconds ? end : (change(local) ?? end),
  ];
}

type CalendarPeriod = Exclude<BudgetPeriod, "hour" | "fixed" | "lifetime">;

function calendarPeriod(
  period: CalendarPeriod,
  local: Temporal.ZonedDateTime,
): [Temporal.ZonedDateTime, Temporal.ZonedDateTime] {
  const midnight = local.startOfDay();
  switch (period) {
    case "day":
      return [midnight, midnight.add({ days: 1 }).startOfDay()];
    case "week": {
      const start = midnight.subtract({ days: local.dayOfWeek - 1 }).startOfDay();
      return [start, start.add({ weeks: 1 }).startOfDay()];
    }
    case "month": {
      const start = midnight.with({ day: 1 }).startOfDay();
      return [start, start.add({ months: 1 }).startOfDay()];
    }
    case "quarter": {
      const firstMonth = local.month - ((local.month - 1) % MONTHS_PER_QUARTER);
      const start = midnight.with({ month: firstMonth, day: 1 }).startOfDay();
      return [start, start.add({ months: MONTHS_PER_QUARTER }).startOfDay()];
    }
    case "year": {
      const start = midnight.with({ month: 1, day: 1 }).startOfDay();
      return [start, start.add({ years: 1 }).startOfDay()];
    }
  }
}

function toWindow(rule: WindowRule, start: Date, end: Date | null): BudgetWindow {
  const stamp = start.toISOString().replace(/[-:]|\.\d{3}/g, "");
  return { id: `win_${idSuffix(rule.id)}_${stamp}`, budgetId: rule.id, start, end };
}
