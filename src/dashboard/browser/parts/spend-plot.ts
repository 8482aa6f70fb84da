/** How the chart of daily spend is drawn with uPlot, in the colours of the current theme. */
import uPlot from "uplot";
import { approximateDollars } from "../amount.ts";
import type { DailyUsage } from "../answers.ts";

export const PLOT_HEIGHT_PX = 200;

const MS_PER_SECOND = 1_000;
const AXIS_FONT = "12px system-ui, sans-serif";
const CHARACTER_PX = 7;
const AXIS_GAP_PX = 18;
const HEADROOM = 1.12;
const BAR_SHARE = 0.7;
const BAR_MAX_PX = 26;
const DAY_LABEL_PX = 64;
const DAY_AXIS_HEIGHT_PX = 30;
const SECONDS_PER_DAY = 86_400;
const DAY_STEPS = [1, 2, 5, 7, 14, 30].map((days) => days * SECONDS_PER_DAY);

/** The chart's columns: days as seconds since 1970, and dollars. */
export function plotData(days: readonly DailyUsage[]): uPlot.AlignedData {
  return [
    days.map((day) => Date.parse(`${day.date}T00:00:00Z`) / MS_PER_SECOND),
    days.map((day) => approximateDollars(day.costUsd)),
  ];
}

/** uPlot's options for a width; `onPoint` hears which day is under the pointer, or `null`. */
export function plotOptions(
  widthPx: number,
  onPoint: (index: number | null) => void,
): uPlot.Options {
  const color = themeColors();
  const axis = { font: AXIS_FONT, stroke: color("--ink-3"), ticks: { show: false } };
  const bars = uPlot.paths.bars?.({ size: [BAR_SHARE, BAR_MAX_PX], radius: 0.15 });
  return {
    width: widthPx,
    height: PLOT_HEIGHT_PX,
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
    padding: [8, 20, 0, 0],
    // Usage is counted in UTC days, so a label must not slip to the day before.
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * MS_PER_SECOND), "Etc/UTC"),
    scales: { x: { time: true, range: dayRange }, y: { range: dollarRange } },
    axes: [
      {
        ...axis,
        grid: { show: false },
        size: DAY_AXIS_HEIGHT_PX,
        space: DAY_LABEL_PX,
        incrs: DAY_STEPS,
        values: dayLabels,
      },
      {
        ...axis,
        grid: { stroke: color("--rule"), width: 1 },
        size: (_, labels) => axisWidthPx(labels),
        values: (_, splits, __, ___, step) => splits.map((dollars) => axisLabel(dollars, step)),
      },
    ],
    series: [
      {},
      {
        fill: color("--settled"),
        stroke: color("--settled"),
        width: 0,
        points: { show: false },
        ...(bars && { paths: bars }),
      },
    ],
    hooks: { setCursor: [(plot) => onPoint(plot.cursor.idx ?? null)] },
  };
}

/** Enough decimals to tell one axis step from the next: `"$50"`, `"$0.25"`, `"$0.0005"`. */
export function axisLabel(dollars: number, step: number): string {
  const needed = Math.max(0, Math.ceil(-Math.log10(step) - 1e-9));
  const decimals = needed === 0 ? 0 : Math.max(2, needed);
  return `$${dollars.toLocaleString("en-US", {
    minimumFractionDigits: decimals,
    maximumFractionDigits: decimals,
  })}`;
}

function dollarRange(_: uPlot, __: number, maximum: number): uPlot.Range.MinMax {
  return [0, maximum > 0 ? maximum * HEADROOM : 1];
}

// Half a day on both sides, so that the first and the last bar are whole.
function dayRange(_: uPlot, first: number, last: number): uPlot.Range.MinMax {
  return [first - SECONDS_PER_DAY / 2, last + SECONDS_PER_DAY / 2];
}

const dayFormat = new Intl.DateTimeFormat("en-GB", {
  day: "numeric",
  month: "short",
  timeZone: "UTC",
});

function dayLabels(_: uPlot, splits: number[]): string[] {
  return splits.map((seconds) => dayFormat.format(seconds * MS_PER_SECOND));
}

function axisWidthPx(labels: readonly string[] | null): number {
  const longest = Math.max(0, ...(labels ?? []).map((label) => label.length));
  return longest * CHARACTER_PX + AXIS_GAP_PX;
}

function themeColors(): (name: string) => string {
  const style = getComputedStyle(document.documentElement);
  return (name) => style.getPropertyValue(name).trim();
}
