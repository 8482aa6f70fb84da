/** Budgets: listing, reading and making them. Changing them is in budget-changes.ts. */
import { z } from "zod";
import { ANCHORED_PERIODS, isAnchor } from "../budgets/anchored-period.ts";
import { createBudget } from "../budgets/budget.ts";
import { budgetList } from "../budgets/queries.ts";
import { inTransaction } from "../database/transaction.ts";
import {
  budgetAnswer,
  budgetExample,
  budgetItem,
  PERIODS,
  readBudget,
  scopeExample,
} from "./budget-answer.ts";
import { archiveBudgetEndpoint, changeBudgetEndpoint } from "./budget-changes.ts";
import { increaseEndpoints } from "./budget-increases.ts";
import type { Dependencies } from "./dependencies.ts";
import { type Endpoint, noBody, noParams, noQuery, type Resource } from "./endpoint.ts";
import {
  amountField,
  ENVIRONMENTS,
  idField,
  modelField,
  nameField,
  providerField,
  scopeField,
  timeField,
} from "./fields.ts";
import { memberEndpoint } from "./member-endpoint.ts";
import { cursorOfId, idPlace, pageAnswer, pageOf, pageQuery } from "./page.ts";

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

export function budgetResource(dependencies: Dependencies): Resource {
  return {
    prefix: "/budgets",
    tag: "Budgets",
    endpoints: [
      listEndpoint(dependencies),
      createEndpoint(dependencies),
      readEndpoint(dependencies),
      changeBudgetEndpoint(dependencies),
      archiveBudgetEndpoint(dependencies),
      ...increaseEndpoints(dependencies),
    ],
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
    answerExample: { items: [budgetExample], nextCursor: null },
    run: async ({ query, member, now }) => {
      const rows = await budgetList(dependencies.sql, {
        organizationId: member.organization.id,
        onlyId: null,
        now,
        beforeId: idPlace("budget", query),
        limit: query.limit + 1,
      });
      return pageOf(rows, query.limit, (row) => budgetItem(row, now), cursorOfId);
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
    answerExample: { ...budgetExample, window: null, forecast: null },
    status: 201,
    run: async ({ body, member, now, change }) => {
      const { id: organizationId } = member.organization;
      const { amountUsd, ...fields } = body;
      return await inTransaction(dependencies.sql, async (transaction) => {
        const id = await createBudget(
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
        return await readBudget(transaction, organizationId, id, now);
      });
    },
  });
}

function readEndpoint(dependencies: Dependencies): Endpoint {
  return memberEndpoint(dependencies, {
    method: "GET",
    path: "/:id",
    summary: "Read a budget",
    description:
      "With the window that now falls into and when it is used up at the present pace. Also one " +
      "that is archived.",
    params: z.strictObject({ id: idField("budget", budgetExample.id) }),
    query: noQuery,
    body: noBody,
    capabilities: ["budget.read"],
    answer: budgetAnswer,
    answerExample: budgetExample,
    run: async ({ params, member, now }) =>
      await readBudget(dependencies.sql, member.organization.id, params.id, now),
  });
}

function isTimeZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat("en", { timeZone: name }).resolvedOptions().timeZone !== "";
  } catch {
    return false;
  }
}
