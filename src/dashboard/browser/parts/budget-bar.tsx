/** One budget as a bar of three parts, which differ in pattern as well as in colour. */
import type { ComponentChildren } from "preact";
import { formatDollars, type NanoUsd } from "../amount.ts";
import { barWidths, type Standing } from "../standing.ts";
import { Dollars } from "./dollars.tsx";

export function BudgetBar({ name, standing }: { name: string; standing: Standing }) {
  const { settledPercent, heldPercent, overPercent } = barWidths(standing);
  return (
    <div class="bar" role="img" aria-label={`${name}: ${standingWords(standing)}`}>
      {standing.settledNanoUsd > 0n && (
        <span class="bar-part settled" style={{ width: `${settledPercent}%` }} />
      )}
      {standing.heldNanoUsd > 0n && (
        <span class="bar-part held" style={{ width: `${heldPercent}%` }} />
      )}
      {standing.overNanoUsd > 0n && <span class="bar-over" style={{ width: `${overPercent}%` }} />}
    </div>
  );
}

/** The three numbers under the bar; the swatches make them its legend. */
export function BudgetNumbers({ standing }: { standing: Standing }) {
  const { settledNanoUsd, heldNanoUsd, leftNanoUsd, overNanoUsd, limitNanoUsd } = standing;
  return (
    <dl class="numbers">
      <Part kind="settled" label="Settled" amountNanoUsd={settledNanoUsd} />
      <Part kind="held" label="Held" amountNanoUsd={heldNanoUsd} />
      {overNanoUsd > 0n ? (
        <Part kind="over" label="Over" amountNanoUsd={overNanoUsd} />
      ) : (
        <Part kind="left" label="Left" amountNanoUsd={leftNanoUsd}>
          <span class="of-limit">
            {" "}
            of <Dollars amountNanoUsd={limitNanoUsd} />
          </span>
        </Part>
      )}
      {overNanoUsd > 0n && <Part kind="limit" label="Limit" amountNanoUsd={limitNanoUsd} />}
    </dl>
  );
}

interface PartProps {
  readonly kind: "settled" | "held" | "left" | "over" | "limit";
  readonly label: string;
  readonly amountNanoUsd: NanoUsd;
  readonly children?: ComponentChildren;
}

function Part({ kind, label, amountNanoUsd, children }: PartProps) {
  return (
    <div class="number">
      <dt>
        {kind !== "limit" && <span class={`swatch ${kind}`} aria-hidden="true" />}
        {label}
      </dt>
      <dd>
        <Dollars amountNanoUsd={amountNanoUsd} />
        {children}
      </dd>
    </div>
  );
}

function standingWords(standing: Standing): string {
  const settled = `${formatDollars(standing.settledNanoUsd)} settled`;
  const held = `${formatDollars(standing.heldNanoUsd)} held`;
  const rest =
    standing.overNanoUsd > 0n
      ? `${formatDollars(standing.overNanoUsd)} over`
      : `${formatDollars(standing.leftNanoUsd)} left of`;
  return `${settled}, ${held}, ${rest} the limit of ${formatDollars(standing.limitNanoUsd)}`;
}
