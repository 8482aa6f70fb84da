/** The three figures that answer "how much?": this month, held now, and the calls behind them. */
import type { ComponentChildren } from "preact";
import { sumNanoUsd } from "../amount.ts";
import type { DailyUsage, HeldPage } from "../answers.ts";
import { monthWords, utcDay } from "../moment.ts";
import type { Section } from "../overview.ts";
import { CHART_DAYS, chartDays, countCalls, spentThisMonth } from "../usage-days.ts";
import { Dollars } from "./dollars.tsx";

interface KeyFiguresProps {
  readonly usage: Section<readonly DailyUsage[]> | null;
  readonly held: Section<HeldPage> | null;
  readonly nowMs: number;
}

const countFormat = new Intl.NumberFormat("en-GB");

/** `usage` or `held` is `null` when the caller may not see it. */
export function KeyFigures({ usage, held, nowMs }: KeyFiguresProps) {
  if (usage === null && held === null) return null;
  return (
    <dl class="figures" aria-label="Key figures">
      {usage !== null && <UsageFigures days={usage.value} nowMs={nowMs} part="spent" />}
      {held !== null && <HeldFigure page={held.value} />}
      {usage !== null && <UsageFigures days={usage.value} nowMs={nowMs} part="calls" />}
    </dl>
  );
}

interface UsageFiguresProps {
  readonly days: readonly DailyUsage[] | null;
  readonly nowMs: number;
  readonly part: "spent" | "calls";
}

function UsageFigures({ days, nowMs, part }: UsageFiguresProps) {
  if (part === "spent") {
    const month = monthWords(utcDay(nowMs));
    return (
      <Figure label="Spent this month" note={`${month}, counted in UTC`}>
        {days && <Dollars amountNanoUsd={spentThisMonth(days, nowMs)} />}
      </Figure>
    );
  }
  const calls = days && countCalls(chartDays(days, nowMs));
  return (
    <Figure label={`Calls, last ${CHART_DAYS} days`} note="settled calls">
      {calls !== null && countFormat.format(calls)}
    </Figure>
  );
}

function HeldFigure({ page }: { page: HeldPage | null }) {
  const count = page?.items.length ?? 0;
  const hasMore = page?.nextCursor !== null && page?.nextCursor !== undefined;
  const calls = count === 1 ? "1 running call" : `${countFormat.format(count)} running calls`;
  const note = count === 0 ? "no call is running" : `for ${hasMore ? "more than " : ""}${calls}`;
  return (
    <Figure label="Held right now" note={page === null ? "" : note}>
      {page && (
        <>
          {hasMore && <span class="figure-qualifier">over </span>}
          <Dollars amountNanoUsd={sumNanoUsd(page.items.map((item) => item.amountUsd))} />
        </>
      )}
    </Figure>
  );
}

interface FigureProps {
  readonly label: string;
  readonly note: string;
  readonly children: ComponentChildren;
}

function Figure({ label, note, children }: FigureProps) {
  const isKnown = children !== null && children !== false;
  return (
    <div class="figure">
      <dt>{label}</dt>
      <dd class="figure-value">{isKnown ? children : <span class="unknown">–</span>}</dd>
      <dd class="figure-note">{note}</dd>
    </div>
  );
}
