/**
 * When a budget is used up if it goes on as in this window so far: what was settled, spread evenly
 * from the window's start until now, and so on. Pure, and good for a warning only.
 */
import type { NanoUsd } from "../money.ts";

export type Spending = {
  readonly windowStart: Date;
  /** Null for a lifetime. */
  readonly windowEnd: Date | null;
  readonly limitNanoUsd: NanoUsd;
  readonly settledNanoUsd: NanoUsd;
};

export type Forecast = {
  /** Null when it lasts until the window ends. */
  readonly usedUpAt: Date | null;
  /** What will have been spent when the window ends; null for a lifetime. */
  readonly atEndNanoUsd: NanoUsd | null;
};

/** Sooner, one call decides the pace. Of the window, and of time. */
const ELAPSED_PERCENT_MIN = 5n;
const ELAPSED_MIN_MS = 60_000n;
/** The last millisecond that a date can hold. */
const TIME_MAX_MS = 8_640_000_000_000_000n;

/** Null while too little of the window has passed, or nothing was spent: there is no pace yet. */
export function forecastOf(spending: Spending, now: Date): Forecast | null {
  const { settledNanoUsd, limitNanoUsd, windowEnd } = spending;
  const startMs = BigInt(spending.windowStart.getTime());
  const elapsedMs = BigInt(now.getTime()) - startMs;
  const lengthMs = windowEnd === null ? null : BigInt(windowEnd.getTime()) - startMs;
  const isEarly = lengthMs !== null && elapsedMs * 100n < lengthMs * ELAPSED_PERCENT_MIN;
  if (settledNanoUsd <= 0n || elapsedMs < ELAPSED_MIN_MS || isEarly) {
    return null;
  }
  const usedUpMs = startMs + (limitNanoUsd * elapsedMs) / settledNanoUsd;
  const lasts = lengthMs === null ? usedUpMs > TIME_MAX_MS : usedUpMs >= startMs + lengthMs;
  return {
    usedUpAt: lasts ? null : new Date(Number(usedUpMs)),
    atEndNanoUsd: lengthMs === null ? null : (settledNanoUsd * lengthMs) / elapsedMs,
  };
}
