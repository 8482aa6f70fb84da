/**
 * Instants, periods and spans in words. One fixed locale, because 03/04 is two days to two readers,
 * and the browser's own time zone, which the page says where it matters.
 */
const LOCALE = "en-GB";
const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
// Below two days, hours say more: "in 31 h" is clearer than "in 1 day".
const WHOLE_DAYS_FROM_MS = 2 * DAY_MS;

const PERIOD_WORDS: Readonly<Record<string, string>> = {
  hour: "Hourly",
  day: "Daily",
  week: "Weekly",
  month: "Monthly",
  quarter: "Quarterly",
  year: "Yearly",
  fixed: "Fixed period",
  lifetime: "Lifetime",
};

const shortFormat = new Intl.DateTimeFormat(LOCALE, {
  day: "2-digit",
  month: "short",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
});
const longFormat = new Intl.DateTimeFormat(LOCALE, {
  weekday: "short",
  day: "numeric",
  month: "short",
  year: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  timeZoneName: "short",
});
const clockFormat = new Intl.DateTimeFormat(LOCALE, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
});
const dayFormat = new Intl.DateTimeFormat(LOCALE, {
  weekday: "short",
  day: "numeric",
  month: "short",
  timeZone: "UTC",
});
const monthFormat = new Intl.DateTimeFormat(LOCALE, { month: "long", timeZone: "UTC" });

/** `"21 Nov, 09:25:03"`, in local time. */
export function shortMoment(instant: string): string {
  return shortFormat.format(new Date(instant));
}

/** `"Tue, 1 Dec 2026, 01:00 CET"`, in local time. */
export function longMoment(instant: string): string {
  return longFormat.format(new Date(instant));
}

/** `"09:25:03"`, in local time. */
export function clockTime(instantMs: number): string {
  return clockFormat.format(instantMs);
}

/** `"Sat 21 Nov"` for a calendar day such as `"2026-11-21"`. */
export function dayWords(date: string): string {
  return dayFormat.format(new Date(`${date}T00:00:00Z`)).replace(",", "");
}

/** `"November"` for `"2026-11-21"`. */
export function monthWords(date: string): string {
  return monthFormat.format(new Date(`${date}T00:00:00Z`));
}

/** The calendar day in UTC, as usage is counted. */
export function utcDay(instantMs: number): string {
  return new Date(instantMs).toISOString().slice(0, "2026-11-21".length);
}

/** The last `count` calendar days up to and including today, oldest first, in UTC. */
export function lastUtcDays(count: number, nowMs: number): string[] {
  return Array.from({ length: count }, (_, index) => utcDay(nowMs - (count - 1 - index) * DAY_MS));
}

/** `"Monthly"` for `"month"`; a period that this page does not know is shown as it is. */
export function periodWords(period: string): string {
  return PERIOD_WORDS[period] ?? period;
}

/** How long ago, in words that do not change more often than they must. */
export function agoWords(spanMs: number): string {
  if (spanMs < SECOND_MS) return "just now";
  if (spanMs < MINUTE_MS) return `${Math.floor(spanMs / SECOND_MS)} s ago`;
  if (spanMs < HOUR_MS) return `${Math.floor(spanMs / MINUTE_MS)} min ago`;
  return `${Math.floor(spanMs / HOUR_MS)} h ago`;
}

/** How long until: `"in 9 days"`, `"in 31 h"`, `"in 5 min"`, `"in a moment"`. */
export function untilWords(spanMs: number): string {
  if (spanMs < MINUTE_MS) return "in a moment";
  if (spanMs < HOUR_MS) return `in ${Math.floor(spanMs / MINUTE_MS)} min`;
  if (spanMs < WHOLE_DAYS_FROM_MS) return `in ${Math.floor(spanMs / HOUR_MS)} h`;
  return `in ${Math.floor(spanMs / DAY_MS)} days`;
}
