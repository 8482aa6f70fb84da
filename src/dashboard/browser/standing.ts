/** How a budget stands: the three numbers of its window and what they mean together. Pure. */
import { type NanoUsd, sharePercent } from "./amount.ts";
import type { Budget } from "./answers.ts";

export interface Standing {
  readonly limitNanoUsd: NanoUsd;
  readonly settledNanoUsd: NanoUsd;
  readonly heldNanoUsd: NanoUsd;
  /** Never below zero; what is beyond the limit is in `overNanoUsd`. */
  readonly leftNanoUsd: NanoUsd;
  readonly overNanoUsd: NanoUsd;
  /** Settled and held together, in whole percent of the limit, rounded down. */
  readonly usedPercent: number;
  readonly level: "calm" | "near" | "full" | "over";
}

/** The widths of a bar, in percent of the bar; when over the limit, the bar is all that is used. */
export interface BarWidths {
  readonly settledPercent: number;
  readonly heldPercent: number;
  readonly overPercent: number;
}

const NEAR_PERCENT = 90;

/** Reads a budget; one whose window has not opened yet stands at its full amount. */
export function standingOf(budget: Budget): Standing {
  const { window } = budget;
  const limitNanoUsd = window?.limitUsd ?? budget.amountUsd;
  const settledNanoUsd = window?.settledUsd ?? 0n;
  const heldNanoUsd = window?.heldUsd ?? 0n;
  const leftNanoUsd = window?.leftUsd ?? limitNanoUsd;
  const overNanoUsd = atLeastZero(settledNanoUsd + heldNanoUsd - limitNanoUsd);
  const usedPercent = Math.floor(sharePercent(settledNanoUsd + heldNanoUsd, limitNanoUsd));
  const standing = { limitNanoUsd, settledNanoUsd, heldNanoUsd, overNanoUsd, usedPercent };
  return {
    ...standing,
    leftNanoUsd: atLeastZero(leftNanoUsd),
    level: levelOf(standing),
  };
}

export function barWidths(standing: Standing): BarWidths {
  const { limitNanoUsd, settledNanoUsd, heldNanoUsd, overNanoUsd } = standing;
  const whole = limitNanoUsd + overNanoUsd;
  return {
    settledPercent: sharePercent(settledNanoUsd, whole),
    heldPercent: sharePercent(heldNanoUsd, whole),
    overPercent: sharePercent(overNanoUsd, whole),
  };
}

/** Most urgent first; among equals the order of the server stays. */
export function byUrgency(budgets: readonly Budget[]): Budget[] {
  return budgets
    .map((budget) => ({ budget, standing: standingOf(budget) }))
    .sort((a, b) => urgency(b.standing) - urgency(a.standing))
    .map(({ budget }) => budget);
}

function urgency(standing: Standing): number {
  return standing.level === "over" ? 101 : standing.usedPercent;
}

function levelOf(standing: Pick<Standing, "overNanoUsd" | "usedPercent">): Standing["level"] {
  if (standing.overNanoUsd > 0n) return "over";
  if (standing.usedPercent >= 100) return "full";
  return standing.usedPercent >= NEAR_PERCENT ? "near" : "calm";
}

function atLeastZero(amountNanoUsd: NanoUsd): NanoUsd {
  return amountNanoUsd > 0n ? amountNanoUsd : 0n;
}
