/** Budgets: changing and archiving them. */
import { z } from "zod";
import { archiveBudget, changeBudget } from "../budgets/change-budget.ts";
import { inTransaction } from "../database/transaction.ts";
import { budgetAnswer, budgetExample, readBudget } from "./budget-answer.ts";
import type { Dependencies } from "./dependencies.ts";
import { type Endpoint, noBody, noQuery } from "./endpoint.ts";
import { amountField, idField, nameField } from "./fields.ts";
import { changeEndpoint } from "./versioned.ts";

const params = z.strictObject({ id: idField("budget", budgetExample.id) });

const changeBody = z
  .strictObject({ name: nameField.optional(), amountUsd: amountField.optional() })
  .refine(({ name, amountUsd }) => name !== undefined || amountUsd !== undefined, {
    message: "must name at least one field to change",
  });

export function changeBudgetEndpoint(dependencies: Dependencies): Endpoint {
  return changeEndpoint(dependencies, {
    method: "PATCH",
    path: "/:id",
    summary: "Change a budget",
    description:
      "Its name and amount. A changed amount holds from the next request on, in the open window " +
      "too; a lower one may leave less than nothing, and then nothing more is granted.",
    params,
    query: noQuery,
    body: changeBody,
    bodyExample: { amountUsd: "750" },
    capabilities: ["budget.write"],
    answer: budgetAnswer,
    answerExample: { ...budgetExample, amountUsd: "750", version: 2 },
    run: async ({ params: { id }, body, member, now, change, expectedVersion }) => {
      const { id: organizationId } = member.organization;
      const { name, amountUsd: amountNanoUsd } = body;
      const changed = { organizationId, id, expectedVersion, name, amountNanoUsd };
      return await inTransaction(dependencies.sql, async (transaction) => {
        await changeBudget(transaction, changed, change);
        return await readBudget(transaction, organizationId, id, now);
      });
    },
  });
}

export function archiveBudgetEndpoint(dependencies: Dependencies): Endpoint {
  return changeEndpoint(dependencies, {
    method: "POST",
    path: "/:id/archive",
    summary: "Archive a budget",
    description:
      "It counts no more from the next request on, and the caps on it are archived with it. " +
      "Where no other hard cap applies, nothing may be spent then. What was booked stays in the " +
      "books.",
    params,
    query: noQuery,
    body: noBody,
    capabilities: ["budget.write"],
    answer: budgetAnswer,
    answerExample: { ...budgetExample, version: 2, archivedAt: "2026-11-21T10:00:00.000Z" },
    run: async ({ params: { id }, member, now, change, expectedVersion }) => {
      const { id: organizationId } = member.organization;
      return await inTransaction(dependencies.sql, async (transaction) => {
        await archiveBudget(transaction, { organizationId, id, expectedVersion }, change);
        return await readBudget(transaction, organizationId, id, now);
      });
    },
  });
}
