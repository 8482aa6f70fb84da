/**
 * Finds budgets that a person should look at: half used, mostly used, used up, and those that will
 * be used up before their window ends. Each is told once for a window and a limit: what falls below
 * its threshold and reaches it again in the same window is not told again (R119).
 */
import { forecastOf } from "../budgets/forecast.ts";
import type { Queryable } from "../database/client.ts";
import { formatUsd } from "../money.ts";
import type { AlertKind, Finding } from "./alert-kind.ts";
import { alertsHadBefore, budgetsUsed, type UsedBudgetRow } from "./budget-cause-queries.ts";
import { type ReachedCapRow, softCapsReached } from "./cause-queries.ts";

/** What is looked for here. */
export const BUDGET_KINDS: readonly AlertKind[] = [
  "budget_half_used",
  "budget_mostly_used",
  "soft_cap_reached",
  "hard_cap_reached",
  "budget_forecast",
];

const HALF_PERCENT = 50;
const MOSTLY_PERCENT = 80;
/** A hard cap refuses before it is used to the last nano-dollar: 100% is from 99.5% on. */
const FULL_PER_MILLE = 995n;

type BudgetFinding = Finding & { readonly organizationId: string };

/** All that deserves an alert of `BUDGET_KINDS` now. */
export async function findBudgetCauses(
  sql: Queryable,
  now: Date,
  rowsMax: number,
): Promise<readonly Finding[]> {
  const soft = await softCapsReached(sql, now, rowsMax);
  const used = await budgetsUsed(sql, { now, percent: HALF_PERCENT }, rowsMax);
  const findings = [...soft.map(softCapReached), ...used.flatMap((row) => usedUp(row, now))];
  const had = await alertsHadBefore(
    sql,
    findings.map(({ organizationId, kind, subject, details }) => ({
      organizationId,
      kind,
      subject,
      windowStart: String(details["windowStart"]),
      limitUsd: String(details["limitUsd"]),
    })),
  );
  return findings.filter((_, place) => !had.has(place));
}

function softCapReached(row: ReachedCapRow): BudgetFinding {
  const { limitUsd, settledUsd, heldUsd } = amountsOf(row);
  const summary =
    `Budget "${row.budget_name}" has reached its soft cap of $${limitUsd}: ` +
    `$${settledUsd} spent, $${heldUsd} held. Nothing is blocked.`;
  return finding(row, "soft_cap_reached", summary, {});
}

function usedUp(row: UsedBudgetRow, now: Date): readonly BudgetFinding[] {
  const { settled_nano_usd: settled, limit_nano_usd: limit, budget_name: name } = row;
  const { limitUsd, settledUsd } = amountsOf(row);
  const reached = (percent: number): boolean => settled * 100n >= limit * BigInt(percent);
  const threshold = (kind: AlertKind, percent: number): BudgetFinding[] =>
    reached(percent)
      ? [
          finding(
            row,
            kind,
            `Budget "${name}" is used to ${percent}% or more: $${settledUsd} of $${limitUsd}.`,
            { percent },
          ),
        ]
      : [];
  const isFull = settled * 1_000n >= limit * FULL_PER_MILLE;
  const full = `Budget "${name}" is used up: $${settledUsd} of $${limitUsd}. Calls are refused.`;
  return [
    ...threshold("budget_half_used", HALF_PERCENT),
    ...threshold("budget_mostly_used", MOSTLY_PERCENT),
    ...(isFull && row.is_hard ? [finding(row, "hard_cap_reached", full, { percent: 100 })] : []),
    ...(isFull ? [] : forecastFinding(row, now)),
  ];
}

function forecastFinding(row: UsedBudgetRow, now: Date): readonly BudgetFinding[] {
  const spending = {
    windowStart: row.window_start,
    windowEnd: row.window_end,
    limitNanoUsd: row.limit_nano_usd,
    settledNanoUsd: row.settled_nano_usd,
  };
  const forecast = row.window_end === null ? null : forecastOf(spending, now);
  if (forecast === null || forecast.usedUpAt === null || forecast.atEndNanoUsd === null) {
    return [];
  }
  const usedUpAt = forecast.usedUpAt.toISOString();
  const { limitUsd } = amountsOf(row);
  const summary =
    `At this pace budget "${row.budget_name}" of $${limitUsd} is used up at ${usedUpAt}, ` +
    "before its window ends.";
  const atEndUsd = formatUsd(forecast.atEndNanoUsd);
  return [finding(row, "budget_forecast", summary, { usedUpAt, atEndUsd })];
}

function finding(
  row: ReachedCapRow,
  kind: AlertKind,
  summary: string,
  details: Finding["details"],
): BudgetFinding {
  return {
    organizationId: row.organization_id,
    kind,
    severity: "warning",
    subject: row.budget_id,
    summary,
    details: {
      budgetName: row.budget_name,
      ...amountsOf(row),
      ...details,
      windowStart: row.window_start.toISOString(),
      windowEnd: row.window_end?.toISOString() ?? null,
    },
  };
}

function amountsOf(row: ReachedCapRow) {
  return {
    limitUsd: formatUsd(row.limit_nano_usd),
    settledUsd: formatUsd(row.settled_nano_usd),
    heldUsd: formatUsd(row.held_nano_usd),
  };
}
