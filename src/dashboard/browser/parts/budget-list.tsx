/** All budgets, the most urgent first, each with its scope, its standing and when it renews. */
import { useState } from "preact/hooks";
import type { Budget, BudgetPage, BudgetWindow } from "../answers.ts";
import { longMoment, periodWords, untilWords } from "../moment.ts";
import { byUrgency, type Standing, standingOf } from "../standing.ts";
import { BudgetBar, BudgetNumbers } from "./budget-bar.tsx";

interface BudgetListProps {
  readonly page: BudgetPage;
  readonly nowMs: number;
  readonly mayCreate: boolean;
}

/** As many as are read at a glance; the others are one click away. */
const BUDGETS_SHOWN_FIRST = 6;

export function BudgetList({ page, nowMs, mayCreate }: BudgetListProps) {
  const [showsAll, setShowsAll] = useState(false);
  if (page.items.length === 0) return <NoBudgets mayCreate={mayCreate} />;
  const budgets = byUrgency(page.items);
  const shown = showsAll ? budgets : budgets.slice(0, BUDGETS_SHOWN_FIRST);
  const hasMore = page.nextCursor !== null && page.nextCursor !== undefined;
  return (
    <>
      <ul class="budgets">
        {shown.map((budget) => (
          <BudgetRow key={budget.id} budget={budget} nowMs={nowMs} />
        ))}
      </ul>
      {budgets.length > BUDGETS_SHOWN_FIRST && (
        <button
          type="button"
          class="button"
          aria-expanded={showsAll}
          onClick={() => setShowsAll(!showsAll)}
        >
          {showsAll ? "Show fewer" : `Show all ${budgets.length}${hasMore ? " of the first" : ""}`}
        </button>
      )}
      {hasMore && (
        <p class="muted">There are more budgets than fit here; the API lists them all.</p>
      )}
    </>
  );
}

function BudgetRow({ budget, nowMs }: { budget: Budget; nowMs: number }) {
  const standing = standingOf(budget);
  return (
    <li class={`budget budget-${standing.level}`}>
      <div class="budget-head">
        <h3>{budget.name}</h3>
        <LevelBadge standing={standing} />
      </div>
      <p class="budget-about">
        <span>{scopeWords(budget)}</span>
        <span>
          {periodWords(budget.period)}
          <Renewal
            window={budget.window ?? null}
            nowMs={nowMs}
            isFixed={budget.period === "fixed"}
          />
        </span>
      </p>
      <BudgetBar name={budget.name} standing={standing} />
      <BudgetNumbers standing={standing} />
    </li>
  );
}

function LevelBadge({ standing }: { standing: Standing }) {
  switch (standing.level) {
    case "over":
      return <span class="badge badge-danger">Over limit</span>;
    case "full":
      return <span class="badge badge-danger">Nothing left</span>;
    case "near":
      return <span class="badge badge-warning">{standing.usedPercent}% used or held</span>;
    case "calm":
      return <span class="badge">{usedWords(standing)}</span>;
  }
}

function usedWords({ usedPercent, settledNanoUsd, heldNanoUsd }: Standing): string {
  if (settledNanoUsd + heldNanoUsd === 0n) return "Unused";
  return usedPercent === 0 ? "Under 1% used or held" : `${usedPercent}% used or held`;
}

interface RenewalProps {
  readonly window: BudgetWindow | null;
  readonly nowMs: number;
  readonly isFixed: boolean;
}

function Renewal({ window, nowMs, isFixed }: RenewalProps) {
  if (window === null) return <>, opens with the first call</>;
  if (window.end === null || window.end === undefined) return <>, never renews</>;
  const spanMs = Date.parse(window.end) - nowMs;
  return (
    <>
      , {isFixed ? "ends" : "renews"} {untilWords(spanMs)}{" "}
      <time class="local-time" dateTime={window.end}>
        ({longMoment(window.end)})
      </time>
    </>
  );
}

/** Whom and what the budget covers: `"Team Platform · openai / gpt-4o"`. */
function scopeWords({ scope, provider, model, tool, environment }: Budget): string {
  const kind = scope.kind.charAt(0).toUpperCase() + scope.kind.slice(1);
  const selector = [provider, model, tool, environment].filter(
    (part) => part !== null && part !== undefined,
  );
  const covered = selector.length === 0 ? "all models" : selector.join(" / ");
  return `${kind} ${scope.name ?? scope.id} · ${covered}`;
}

function NoBudgets({ mayCreate }: { mayCreate: boolean }) {
  return (
    <div class="empty">
      <p class="empty-title">No budgets yet</p>
      <p>
        Spendra refuses every call that no hard cap covers.{" "}
        {mayCreate ? (
          <>
            Create a budget with <code>POST /management/budgets</code> and its hard cap with{" "}
            <code>POST /management/policies</code>; the <a href="/docs">API docs</a> show how.
          </>
        ) : (
          "Ask an administrator of your organization to create a budget."
        )}
      </p>
    </div>
  );
}
