/**
 * Periods that are counted from an anchor, a local date and time such as `2026-04-01T00:00`: weeks
 * from its weekday, months from its day, quarters and years from its month, all from its time of
 * day. Counted from the anchor itself, so that months from the 31st are those of January 31st,
 * February 28th and March 31st. Pure.
 */

export const ANCHORED_PERIODS = ["day", "week", "month", "quarter", "year"] as const;

type AnchoredPeriod = (typeof ANCHORED_PERIODS)[number];

type Step = { readonly unit: "days" | "months"; readonly size: number };

const STEPS: Readonly<Record<AnchoredPeriod, Step>> = {
  day: { unit: "days", size: 1 },
  week: { unit: "days", size: 7 },
  month: { unit: "months", size: 1 },
  quarter: { unit: "months", size: 3 },
  year: { unit: "months", size: 12 },
};

const ANCHOR = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}$/;

/** Whether a text is a local date and time to the minute, and there is such a day. */
export function isAnchor(text: string): boolean {
  if (!ANCHOR.test(text)) {
    return false;
  }
  try {
    Temporal.PlainDateTime.from(text, { overflow: "reject" });
    return true;
  } catch {
    return false;
  }
}

/**
 * The period that contains an instant, `[start, end)`. A local time that a change of the clock
 * skips counts as the next one that there is, so that periods neither overlap nor leave a gap.
 */
export function anchoredPeriod(
  period: AnchoredPeriod,
  anchor: string,
  local: Temporal.ZonedDateTime,
): [Temporal.ZonedDateTime, Temporal.ZonedDateTime] {
  const from = Temporal.PlainDateTime.from(anchor);
  const { unit, size } = STEPS[period];
  const startOf = (index: number): Temporal.ZonedDateTime =>
    from.add({ [unit]: index * size }).toZonedDateTime(local.timeZoneId);
  const since = local.toPlainDateTime().since(from, { largestUnit: unit })[unit];
  // Off by one at most, around a change of the clock or the end of a short month.
  let index = Math.floor(since / size);
  while (Temporal.ZonedDateTime.compare(startOf(index), local) > 0) {
    index--;
  }
  while (Temporal.ZonedDateTime.compare(startOf(index + 1), local) <= 0) {
    index++;
  }
  return [startOf(index), startOf(index + 1)];
}
