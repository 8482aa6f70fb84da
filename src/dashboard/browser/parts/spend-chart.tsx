/** Spend over time: one bar a day, the figures of the day pointed at, and a table of them all. */
import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import { formatDollars, sumNanoUsd } from "../amount.ts";
import type { DailyUsage } from "../answers.ts";
import { dayWords } from "../moment.ts";
import { chartDays, countCalls } from "../usage-days.ts";
import { Dollars } from "./dollars.tsx";
import { PLOT_HEIGHT_PX, plotData, plotOptions } from "./spend-plot.ts";

interface SpendChartProps {
  readonly items: readonly DailyUsage[];
  readonly nowMs: number;
}

export function SpendChart({ items, nowMs }: SpendChartProps) {
  const [pointedIndex, setPointedIndex] = useState<number | null>(null);
  const days = chartDays(items, nowMs);
  if (countCalls(days) === 0 && days.every((day) => day.costUsd === 0n)) return <NoSpend />;
  const pointed = pointedIndex === null ? undefined : days[pointedIndex];
  const total = formatDollars(sumNanoUsd(days.map((day) => day.costUsd)));
  return (
    <figure class="spend">
      <figcaption class="spend-reading">
        {pointed ? (
          <>
            {dayWords(pointed.date)}: <Dollars amountNanoUsd={pointed.costUsd} />,{" "}
            {callWords(pointed.calls)}
          </>
        ) : (
          <>
            {total} in the last {days.length} days
          </>
        )}
      </figcaption>
      <Plot days={days} label={plotWords(days, total)} onPoint={setPointedIndex} />
      <DayTable days={days} />
    </figure>
  );
}

interface PlotProps {
  readonly days: readonly DailyUsage[];
  readonly label: string;
  readonly onPoint: (index: number | null) => void;
}

function Plot({ days, label, onPoint }: PlotProps) {
  const container = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const theme = useColorScheme();
  // Days are new objects at every render; only other content is worth drawing again.
  const content = days.map((day) => `${day.date}=${day.costUsd}`).join();

  // The theme stands for the colours that `plotOptions` reads from the styles.
  useEffect(() => {
    const element = container.current;
    if (element === null) return;
    const drawn = new uPlot(plotOptions(element.clientWidth, onPoint), plotData(days), element);
    plot.current = drawn;
    const observer = new ResizeObserver(() => {
      drawn.setSize({ width: element.clientWidth, height: PLOT_HEIGHT_PX });
    });
    observer.observe(element);
    return () => {
      observer.disconnect();
      drawn.destroy();
    };
  }, [theme]);

  // `content` stands for the days.
  useEffect(() => plot.current?.setData(plotData(days)), [content]);

  return <div class="plot" ref={container} role="img" aria-label={label} />;
}

function useColorScheme(): "dark" | "light" {
  const [query] = useState(() => matchMedia("(prefers-color-scheme: dark)"));
  const [isDark, setIsDark] = useState(query.matches);
  useEffect(() => {
    const hear = () => setIsDark(query.matches);
    query.addEventListener("change", hear);
    return () => query.removeEventListener("change", hear);
  }, [query]);
  return isDark ? "dark" : "light";
}

function DayTable({ days }: { days: readonly DailyUsage[] }) {
  return (
    <details class="day-table">
      <summary>Show as table</summary>
      <table>
        <caption class="visually-hidden">Spend and calls by day, newest first</caption>
        <thead>
          <tr>
            <th scope="col">Day (UTC)</th>
            <th scope="col">Calls</th>
            <th scope="col">Spend</th>
          </tr>
        </thead>
        <tbody>
          {days.toReversed().map((day) => (
            <tr key={day.date}>
              <th scope="row">{dayWords(day.date)}</th>
              <td>{day.calls}</td>
              <td>
                <Dollars amountNanoUsd={day.costUsd} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </details>
  );
}

function NoSpend() {
  return (
    <div class="empty">
      <p class="empty-title">No spend in the last 30 days</p>
      <p>Each day becomes a bar here as soon as its first call is settled.</p>
    </div>
  );
}

function plotWords(days: readonly DailyUsage[], total: string): string {
  const dearest = days.reduce((most, day) => (day.costUsd > most.costUsd ? day : most));
  const most = `${formatDollars(dearest.costUsd)} on ${dayWords(dearest.date)}`;
  return `Bar chart of spend by day: ${total} in ${days.length} days, at most ${most}`;
}

function callWords(calls: number): string {
  return calls === 1 ? "1 call" : `${calls} calls`;
}
