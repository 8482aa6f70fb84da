/** The overview: figures, budgets, spend over time and the ledger, as far as the caller may see. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Caller } from "../answers.ts";
import { keepFresh } from "../freshness.ts";
import { createOverview, visibleParts } from "../overview.ts";
import { BudgetList } from "../parts/budget-list.tsx";
import { FreshnessLine, UnreachableNotice } from "../parts/freshness-line.tsx";
import { KeyFigures } from "../parts/key-figures.tsx";
import { LedgerTable } from "../parts/ledger-table.tsx";
import { Notice } from "../parts/notice.tsx";
import { OpenAlerts } from "../parts/open-alerts.tsx";
import { Panel } from "../parts/panel.tsx";
import { SpendChart } from "../parts/spend-chart.tsx";
import { TopBar } from "../parts/top-bar.tsx";
import type { Session } from "../session.ts";

interface OverviewPageProps {
  readonly session: Session;
  readonly caller: Caller;
}

const CLOCK_STEP_MS = 1_000;

export function OverviewPage({ session, caller }: OverviewPageProps) {
  const overview = useMemo(() => createOverview(session, caller), [session, caller]);
  const visible = visibleParts(caller);
  const nowMs = useClock();
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => keepFresh(overview.refresh), [overview]);
  // After signing in, a screen reader goes on from here instead of from the vanished form.
  useEffect(() => heading.current?.focus(), []);

  const { refresh } = overview;
  return (
    <>
      <a class="skip-link" href="#overview">
        Skip to the overview
      </a>
      <TopBar session={session} caller={caller} />
      <main class="overview" id="overview">
        <div class="page-head">
          <h1 ref={heading} tabIndex={-1}>
            Overview
          </h1>
          {visible.size > 0 && <FreshnessLine overview={overview} nowMs={nowMs} />}
        </div>
        <UnreachableNotice overview={overview} />
        {visible.has("alerts") && (
          <OpenAlerts section={overview.alerts.value} nowMs={nowMs} onRetry={refresh} />
        )}
        {visible.size === 0 && <NothingVisible />}
        <KeyFigures
          usage={visible.has("usage") ? overview.usage.value : null}
          held={visible.has("held") ? overview.held.value : null}
          nowMs={nowMs}
        />
        {visible.has("budgets") && (
          <Panel id="budgets" title="Budgets" section={overview.budgets.value} onRetry={refresh}>
            {(page) => <BudgetList page={page} nowMs={nowMs} mayCreate={mayWriteBudgets(caller)} />}
          </Panel>
        )}
        {visible.has("usage") && (
          <Panel id="spend" title="Spend by day" section={overview.usage.value} onRetry={refresh}>
            {(items) => <SpendChart items={items} nowMs={nowMs} />}
          </Panel>
        )}
        {visible.has("ledger") && (
          <Panel id="ledger" title="Ledger" section={overview.ledger.value} onRetry={refresh}>
            {(page) => <LedgerTable page={page} onLoadOlder={overview.loadOlderEntries} />}
          </Panel>
        )}
      </main>
    </>
  );
}

function NothingVisible() {
  return (
    <Notice tone="plain">
      Your role does not include spending figures. An administrator of your organization can change
      that.
    </Notice>
  );
}

function mayWriteBudgets(caller: Caller): boolean {
  return caller.capabilities.some((it) => it.startsWith("budget.") && it !== "budget.read");
}

function useClock(): number {
  const [nowMs, setNowMs] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNowMs(Date.now()), CLOCK_STEP_MS);
    return () => clearInterval(timer);
  }, []);
  return nowMs;
}
