/** What the API says of a budget, and reading one. */
import { z } from "zod";
import { forecastOf } from "../budgets/forecast.ts";
import { type BudgetRow, budgetList } from "../budgets/queries.ts";
import type { BudgetPeriod } from "../budgets/window.ts";
import type { Queryable } from "../database/client.ts";
import { requireFound } from "../errors.ts";
import { formatUsd } from "../money.ts";
import { ENVIRONMENTS, instant, scopeAnswer, timeOrNull, usd, usdOrNull } from "./fields.ts";
import { idPlace } from "./page.ts";
import { versionAnswer } from "./versioned.ts";

export const PERIODS = [
  "hour",
  "day",
  "week",
  "month",
  "quarter",
  "year",
  "fixed",
  "lifetime",
] as const satisfies readonly BudgetPeriod[];

const windowAnswer = z.strictObject({
  start: instant,
  end: instant.nullable().meta({ description: "Null for a lifetime." }),
  limitUsd: usd,
  settledUsd: usd,
  heldUsd: usd,
  leftUsd: usd.meta({ description: "Limit less settled less held; below zero after an overage." }),
});

const forecastAnswer = z
  .strictObject({
    usedUpAt: instant.nullable().meta({ description: "Null: it lasts until the window ends." }),
    atEndUsd: usd
      .nullable()
      .meta({ description: "Spent when the window ends; null for a lifetime." }),
  })
  .meta({ description: "If it goes on as in this window so far." });

export const budgetAnswer = z.strictObject({
  id: z.string(),
  name: z.string(),
  scope: scopeAnswer,
  provider: z.string().nullable(),
  model: z.string().nullable(),
  tool: z.string().nullable(),
  environment: z.enum(ENVIRONMENTS).nullable(),
  amountUsd: usd,
  period: z.enum(PERIODS),
  timeZone: z.string(),
  anchor: z.string().nullable().meta({ description: "Null: periods begin with the calendar's." }),
  startsAt: instant.nullable(),
  endsAt: instant.nullable(),
  increaseUsd: usd.meta({
    description: "By how much temporary increases raise the limit now.",
  }),
  version: versionAnswer,
  createdAt: instant,
  archivedAt: instant.nullable(),
  window: windowAnswer.nullable().meta({
    description: "The present window; null until the first request in it.",
  }),
  forecast: forecastAnswer.nullable().meta({ description: "Null while there is no pace yet." }),
});

export const scopeExample = { kind: "team" as const, id: "tea_01KAJ3M2YV8Q4T6W9ZB5C7D1E2" };

export const budgetExample: z.output<typeof budgetAnswer> = {
  id: "bud_01KAJ3M2YV8Q4T6W9ZB5C7D1E2",
  name: "Platform team",
  scope: { ...scopeExample, name: "Platform" },
  provider: null,
  model: null,
  tool: null,
  environment: null,
  amountUsd: "500",
  period: "month",
  timeZone: "Europe/Zurich",
  anchor: null,
  startsAt: null,
  endsAt: null,
  increaseUsd: "0",
  version: 1,
  createdAt: "2026-11-21T09:30:00.000Z",
  archivedAt: null,
  window: {
    start: "2026-10-31T23:00:00.000Z",
    end: "2026-11-30T23:00:00.000Z",
    limitUsd: "500",
    settledUsd: "12.00345",
    heldUsd: "0.25",
    leftUsd: "487.74655",
  },
  forecast: { usedUpAt: null, atEndUsd: "17.4" },
};

/** A budget as the API shows it. */
export function budgetItem(row: BudgetRow, now: Date): z.output<typeof budgetAnswer> {
  return {
    id: row.id,
    name: row.name,
    scope: { kind: row.scope_kind, id: row.scope_id, name: row.scope_name },
    provider: row.provider,
    model: row.model,
    tool: row.tool,
    environment: row.environment,
    amountUsd: formatUsd(row.amount_nano_usd),
    period: row.period,
    timeZone: row.time_zone,
    anchor: row.anchor,
    startsAt: timeOrNull(row.starts_at),
    endsAt: timeOrNull(row.ends_at),
    increaseUsd: formatUsd(row.increase_nano_usd),
    version: row.version,
    createdAt: row.created_at.toISOString(),
    archivedAt: timeOrNull(row.archived_at),
    window: windowOf(row),
    forecast: forecastIn(row, now),
  };
}

function windowOf(row: BudgetRow): z.output<typeof windowAnswer> | null {
  const { window_start, window_end, limit_nano_usd, settled_nano_usd, held_nano_usd } = row;
  if (
    window_start === null ||
    limit_nano_usd === null ||
    settled_nano_usd === null ||
    held_nano_usd === null
  ) {
    return null;
  }
  return {
    start: window_start.toISOString(),
    end: timeOrNull(window_end),
    limitUsd: formatUsd(limit_nano_usd),
    settledUsd: formatUsd(settled_nano_usd),
    heldUsd: formatUsd(held_nano_usd),
    leftUsd: formatUsd(limit_nano_usd - settled_nano_usd - held_nano_usd),
  };
}

/** Throws `not_found`. */
export async function readBudget(
  sql: Queryable,
  organizationId: string,
  onlyId: string,
  now: Date,
): Promise<z.output<typeof budgetAnswer>> {
  const beforeId = idPlace("budget", { limit: 1 });
  const [row] = await budgetList(sql, { organizationId, onlyId, now, beforeId, limit: 1 });
  return budgetItem(requireFound(row, "budget"), now);
}

function forecastIn(row: BudgetRow, now: Date): z.output<typeof forecastAnswer> | null {
  const { window_start, window_end, limit_nano_usd, settled_nano_usd } = row;
  if (window_start === null || limit_nano_usd === null || settled_nano_usd === null) {
    return null;
  }
  const spending = {
    windowStart: window_start,
    windowEnd: window_end,
    limitNanoUsd: limit_nano_usd,
    settledNanoUsd: settled_nano_usd,
  };
  const forecast = forecastOf(spending, now);
  return forecast === null
    ? null
    : { usedUpAt: timeOrNull(forecast.usedUpAt), atEndUsd: usdOrNull(forecast.atEndNanoUsd) };
}
