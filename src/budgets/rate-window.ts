/**
 * Rate limits: how many requests, tokens or calls at the same time. The windows of budgets in other
 * units, decided in the same step as the money, so that they are exact over all nodes. Pure.
 */
import { idSuffix } from "../id.ts";
import type { Scope } from "../organizations/scopes.ts";

export const RATE_UNITS = ["requests", "tokens", "concurrent_calls"] as const;
export const RATE_PERIODS = ["minute", "hour", "day"] as const;

export type RateUnit = (typeof RATE_UNITS)[number];
export type RatePeriod = (typeof RATE_PERIODS)[number];

/** A policy of the kind `rate_limit`. Selectors are null where they select everything. */
export type RateLimit = {
  readonly policyId: string;
  readonly policyName: string;
  /** Tried out: its windows count and have room for everything, and `limit` refuses nothing. */
  readonly isShadow: boolean;
  readonly scope: Scope;
  readonly unit: RateUnit;
  readonly limit: bigint;
  /** Null for calls at the same time: they have no period. */
  readonly period: RatePeriod | null;
  readonly provider: string | null;
  readonly model: string | null;
  readonly createdAt: Date;
};

/** `[start, end)`, in UTC; `end` is null for calls at the same time. */
export type RateWindow = {
  readonly id: string;
  readonly policyId: string;
  readonly unit: RateUnit;
  readonly start: Date;
  readonly end: Date | null;
};

const PERIOD_MS: Readonly<Record<RatePeriod, number>> = {
  minute: 60_000,
  hour: 3_600_000,
  day: 86_400_000,
};

const ID_PREFIX = "rwn_";

/** The window of a limit at an instant: whole minutes, hours and days of UTC. */
export function rateWindowAt(limit: RateLimit, at: Date): RateWindow {
  const { policyId, unit, period } = limit;
  const start = period === null ? limit.createdAt : wholeBefore(at, PERIOD_MS[period]);
  const end = period === null ? null : new Date(start.getTime() + PERIOD_MS[period]);
  const id = `${ID_PREFIX}${idSuffix(policyId)}_${start.getTime()}`;
  return { id, policyId, unit, start, end };
}

/** Budgets' and rate limits' windows are in two tables. */
export function isRateWindowId(id: string): boolean {
  return id.startsWith(ID_PREFIX);
}

function wholeBefore(at: Date, stepMs: number): Date {
  return new Date(Math.floor(at.getTime() / stepMs) * stepMs);
}
