/** Says how old the figures are and offers to ask again; above all parts when nothing answers. */
import { describeFailure } from "../failure.ts";
import { agoWords, clockTime } from "../moment.ts";
import type { Overview } from "../overview.ts";
import { Notice } from "./notice.tsx";

interface FreshnessProps {
  readonly overview: Overview;
  readonly nowMs: number;
}

export function FreshnessLine({ overview, nowMs }: FreshnessProps) {
  const updatedAtMs = overview.updatedAtMs.value;
  return (
    <div class="freshness">
      {updatedAtMs !== null && (
        <span title={`at ${clockTime(updatedAtMs)}`}>Updated {agoWords(nowMs - updatedAtMs)}</span>
      )}
      <button
        type="button"
        class="button button-quiet"
        aria-disabled={overview.isRefreshing.value}
        onClick={() => void overview.refresh()}
      >
        Refresh
      </button>
    </div>
  );
}

/** The one message for all parts when the server cannot be reached. */
export function UnreachableNotice({ overview }: { overview: Overview }) {
  const { alerts, budgets, usage, held, ledger } = overview;
  const sections = [alerts, budgets, usage, held, ledger];
  const isUnreachable = sections.some(({ value }) => value.failure?.kind === "unreachable");
  if (!isUnreachable) return null;
  const updatedAtMs = overview.updatedAtMs.value;
  return (
    <Notice tone="danger" onRetry={overview.refresh}>
      {describeFailure({ kind: "unreachable" })}
      {updatedAtMs !== null && ` The figures below are from ${clockTime(updatedAtMs)}.`}
    </Notice>
  );
}
