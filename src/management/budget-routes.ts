/** Budgets: listing them with what is left in the present window, and making them. */

import { z } from "zod";
import { ANCHORED_PERIODS, isAnchor } from "../budgets/anchored-period.ts";
import { createBudget } from "../budgets/budget.ts";
import { type BudgetRow, budgetList } from "../budgets/queries.ts";
import type { BudgetPeriod } from "../budgets/window.ts";
import { inTransaction } from "../database/transaction.ts";
import { PublicError } from "../errors.ts";
import { formatUsd } from "../money.ts";
import type { Dependencies } from "./dependencies.ts";
import { type Endpoint, noBody, noParams, noQuery, type Resource } from "./endpoint.ts";
import {
  amountField,
  ENVIRONMENTS,
  instant,
  modelField,
  nameField,
  providerField,
  scopeAnswer,
  scopeField,
  timeField,
  timeOrNull,
  usd,
} from "./fields.ts";
import { memberEndpoint } from "./member-endpoint.ts";
import { cursorOfId, idPlace, pageAnswer, pageOf, pageQuery } from "./page.ts";

const PERIODS = [
  "hour",
  "day",
  "week",
  "month",
  "quarter",
  "year",
  "fixed",
  "lifetime",
] as const satisfies readonly BudgetPeriod[];

const timeZoneField = z
  .string()
  .max(100, "is not an IANA time zone")
  // Names only: an offset such as +02:00 would silently ignore daylight saving.
  .regex(/^[A-Za-z]+([/_+-][A-Za-z0-9]+)*$/, "must be an IANA time zone such as Europe/Zurich")
  .refine(isTimeZone, "is not an IANA time zone")
  .meta({ example: "Europe/Zurich" });

const anchorField = z
  .string()
  .refine(isAnchor, "must be a local date and time such as 2026-04-01T00:00")
  .meta({
    example: "2026-04-01T00:00",
    description:
      "From which local date and time periods are counted: weeks from its weekday, months from " +
      "its day, quarters and years from its month, all from its time of day.",
  });

const createBody = z
  .strictObject({
    name: nameField,
    scope: scopeField,
    provider: providerField.nullish(),
    model: modelField.nullish(),
    tool: modelField.nullish(),
    environment: z.enum(ENVIRONMENTS).nullish(),
    amountUsd: amountField,
    period: z.enum(PERIODS),
    timeZone: timeZoneField.default("UTC"),
    anchor: anchorField.nullish(),
    startsAt: timeField.nullish(),
    endsAt: timeField.nullish(),
  })
  .superRefine(({ period, anchor, startsAt, endsAt }, context) => {
    const refuse = (field: string, message: string) =>
      context.addIssue({ code: "custom", path: [field], message });
    if (anchor && !ANCHORED_PERIODS.some((anchored) => anchored === period)) {
      refuse("anchor", `is only for the periods ${ANCHORED_PERIODS.join(", ")}`);
    }
    for (const [field, time] of Object.entries({ startsAt, endsAt })) {
      if (period === "fixed" && !time) {
        refuse(field, "is needed for the period fixed");
      } else if (period !== "fixed" && time) {
        refuse(field, "is only for the period fixed");
      }
    }
    if (startsAt && endsAt && startsAt >= endsAt) {
      refuse("endsAt", "must be after startsAt");
    }
  });

const windowAnswer = z.strictObject({
  start: instant,
  end: instant.nullable().meta({ description: "Null for a lifetime." }),
  limitUsd: usd,
  settledUsd: usd,
  heldUsd: usd,
  leftUsd: usd.meta({ description: "Limit less settled less held; below zero after an overage." }),
});

const budgetAnswer = z.strictObject({
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
  version: z.int(),
  createdAt: instant,
  window: windowAnswer.nullable().meta({
    description: "The present window; null until the first request in it.",
  }),
});

const scopeExample = { kind: "team" as const, id: "tea_01KAJ3M2YV8Q4T6W9ZB5C7D1E2" };

const example: z.output<typeof budgetAnswer> = {
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
  version: 1,
  createdAt: "2026-11-21T09:30:00.000Z",
  window: {
    start: "2026-10-31T23:00:00.000Z",
    end: "2026-11-30T23:00:00.000Z",
    limitUsd: "500",
    settledUsd: "12.00345",
    heldUsd: "0.25",
    leftUsd: "487.74655",
  },
};

export function budgetResource(dependencies: Dependencies): Resource {
  return {
    prefix: "/budgets",
    tag: "Budgets",
    endpoints: [listEndpoint(dependencies), createEndpoint(dependencies)],
  };
}

function listEndpoint(dependencies: Dependencies): Endpoint {
  return memberEndpoint(dependencies, {
    method: "GET",
    path: "",
    summary: "List budgets",
    description: "Newest first, each with the window that now falls into.",
    params: noParams,
    query: pageQuery,
    body: noBody,
    capabilities: ["budget.read"],
    answer: pageAnswer(budgetAnswer),
    answerExample: { items: [example], nextCursor: null },
    run: async ({ query, member, now }) => {
      const rows = await budgetList(dependencies.sql, {
        organizationId: member.organization.id,
        onlyId: null,
        now,
        beforeId: idPlace("budget", query),
        limit: query.limit + 1,
      });
      return pageOf(rows, query.limit, itemOf, cursorOfId);
    },
  });
}

function createEndpoint(dependencies: Dependencies): Endpoint {
  return memberEndpoint(dependencies, {
    method: "POST",
    path: "",
    summary: "Create a budget",
    description: "A budget counts; it blocks only once a hard_cap policy names it.",
    params: noParams,
    query: noQuery,
    body: createBody,
    bodyExample: {
      name: "Platform team",
      scope: scopeExample,
      amountUsd: "500",
      period: "month",
      timeZone: "Europe/Zurich",
    },
    capabilities: ["budget.write"],
    answer: budgetAnswer,
    answerExample: { ...example, window: null },
    status: 201,
    run: async ({ body, member, now, change }) => {
      const { id: organizationId } = member.organization;
      const { amountUsd, ...fields } = body;
      return await inTransaction(dependencies.sql, async (transaction) => {
        const onlyId = await createBudget(
          transaction,
          {
            ...fields,
            organizationId,
            amountNanoUsd: amountUsd,
            provider: body.provider ?? null,
            model: body.model ?? null,
            tool: body.tool ?? null,
            environment: body.environment ?? null,
            anchor: body.anchor ?? null,
            startsAt: body.startsAt ?? null,
            endsAt: body.endsAt ?? null,
          },
          change,
        );
        const beforeId = idPlace("budget", { limit: 1 });
        const [row] = await budgetList(transaction, {
          organizationId,
          onlyId,
          now,
          beforeId,
          limit: 1,
        });
        if (row === undefined) {
          throw new PublicError("not_found", "There is no such budget.");
        }
        return itemOf(row);
      });
    },
  });
}

function itemOf(row: BudgetRow): z.output<typeof budgetAnswer> {
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
    version: row.version,
    createdAt: row.created_at.toISOString(),
    window: windowOf(row),
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

function isTimeZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat("en", { timeZone: name }).resolvedOptions().timeZone !== "";
  } catch {
    return false;
  }
}
