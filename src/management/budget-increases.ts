/** A budget's limit, raised for a while. */
import { z } from "zod";
import { endIncrease, increaseBudget } from "../budgets/increase.ts";
import { type IncreaseRow, increaseList } from "../budgets/increase-queries.ts";
import { inTransaction } from "../database/transaction.ts";
import { formatUsd } from "../money.ts";
import { budgetAnswer, budgetExample, readBudget } from "./budget-answer.ts";
import type { Dependencies } from "./dependencies.ts";
import { type Endpoint, noBody, noQuery } from "./endpoint.ts";
import { idField, instant, positiveAmountField, timeField, timeOrNull, usd } from "./fields.ts";
import { memberEndpoint } from "./member-endpoint.ts";
import { cursorOfId, idPlace, pageAnswer, pageOf, pageQuery } from "./page.ts";
import { reasonField } from "./reason-field.ts";
import { changeEndpoint } from "./versioned.ts";

const EXAMPLE_ID = "inc_01KAJ3M2YV8Q4T6W9ZB5C7D1E2";
const params = z.strictObject({ id: idField("budget", budgetExample.id) });

const increaseBody = z.strictObject({
  amountUsd: positiveAmountField,
  endsAt: timeField,
  reason: reasonField,
});

const increaseAnswer = z.strictObject({
  id: z.string(),
  amountUsd: usd,
  reason: z.string(),
  createdAt: instant,
  endsAt: instant,
  endedAt: instant.nullable().meta({ description: "Null while it raises the limit." }),
});

const example: z.output<typeof increaseAnswer> = {
  id: EXAMPLE_ID,
  amountUsd: "100",
  reason: "Launch week",
  createdAt: "2026-11-21T09:30:00.000Z",
  endsAt: "2026-11-28T09:30:00.000Z",
  endedAt: null,
};

export function increaseEndpoints(dependencies: Dependencies): readonly Endpoint[] {
  return [listEndpoint(dependencies), addEndpoint(dependencies), endEndpoint(dependencies)];
}

function listEndpoint(dependencies: Dependencies): Endpoint {
  return memberEndpoint(dependencies, {
    method: "GET",
    path: "/:id/increases",
    summary: "List a budget's increases",
    description: "Newest first, those that ended too.",
    params,
    query: pageQuery,
    body: noBody,
    capabilities: ["budget.read"],
    answer: pageAnswer(increaseAnswer),
    answerExample: { items: [example], nextCursor: null },
    run: async ({ params: { id }, query, member, now }) => {
      const { id: organizationId } = member.organization;
      await readBudget(dependencies.sql, organizationId, id, now);
      const rows = await increaseList(dependencies.sql, {
        organizationId,
        budgetId: id,
        beforeId: idPlace("budgetIncrease", query),
        limit: query.limit + 1,
      });
      return pageOf(rows, query.limit, itemOf, cursorOfId);
    },
  });
}

function addEndpoint(dependencies: Dependencies): Endpoint {
  return changeEndpoint(dependencies, {
    method: "POST",
    path: "/:id/increases",
    summary: "Raise a budget for a while",
    description:
      "The limit of the open window, and of those that open until then, is higher by this much " +
      "until `endsAt`, at most a year away; then it falls back by itself. Answers the budget.",
    params,
    query: noQuery,
    body: increaseBody,
    bodyExample: { amountUsd: "100", endsAt: example.endsAt, reason: example.reason },
    capabilities: ["budget.write"],
    answer: budgetAnswer,
    answerExample: { ...budgetExample, increaseUsd: "100", version: 2 },
    status: 201,
    run: async ({ params: { id }, body, member, now, change, expectedVersion }) => {
      const { id: organizationId } = member.organization;
      const { amountUsd: amountNanoUsd, endsAt, reason } = body;
      const budget = { organizationId, id, expectedVersion };
      return await inTransaction(dependencies.sql, async (transaction) => {
        await increaseBudget(transaction, budget, { amountNanoUsd, endsAt, reason }, change);
        return await readBudget(transaction, organizationId, id, now);
      });
    },
  });
}

function endEndpoint(dependencies: Dependencies): Endpoint {
  return changeEndpoint(dependencies, {
    method: "POST",
    path: "/:id/increases/:increaseId/end",
    summary: "End an increase before its time",
    description: "The limit falls back from the next request on. Answers the budget.",
    params: params.extend({ increaseId: idField("budgetIncrease", EXAMPLE_ID) }),
    query: noQuery,
    body: noBody,
    capabilities: ["budget.write"],
    answer: budgetAnswer,
    answerExample: { ...budgetExample, version: 3 },
    run: async ({ params: { id, increaseId }, member, now, change, expectedVersion }) => {
      const { id: organizationId } = member.organization;
      const budget = { organizationId, id, expectedVersion, increaseId };
      return await inTransaction(dependencies.sql, async (transaction) => {
        await endIncrease(transaction, budget, change);
        return await readBudget(transaction, organizationId, id, now);
      });
    },
  });
}

function itemOf(row: IncreaseRow): z.output<typeof increaseAnswer> {
  return {
    id: row.id,
    amountUsd: formatUsd(row.amount_nano_usd),
    reason: row.reason,
    createdAt: row.created_at.toISOString(),
    endsAt: row.ends_at.toISOString(),
    endedAt: timeOrNull(row.ended_at),
  };
}
