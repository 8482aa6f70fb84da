/**
 * Temporary increases: a budget's limit that is higher until an instant. While one runs, the node
 * knows its end with the key's policies; a call that is decided at that instant or later ends it
 * first (`endLapsedIncreases`), under the lock of the budget, and is decided anew. So the limit
 * falls back on time by the clock of the node that decides, whether or not any job runs.
 */
import { type Change, changeByInstallation, recordAuditEvent } from "../audit/audit-event.ts";
import type { Sql, Transaction } from "../database/client.ts";
import { inTransaction } from "../database/transaction.ts";
import { PublicError } from "../errors.ts";
import { newId } from "../id.ts";
import { formatUsd, type NanoUsd } from "../money.ts";
import { type ChangedBudget, lockForChange } from "./change-budget.ts";
import { budgetLock } from "./change-queries.ts";
import {
  budgetSumIncreases,
  budgetsWithLapsedIncreases,
  increaseEnd,
  increaseInsert,
  increasesEndLapsed,
  increasesRunning,
} from "./increase-queries.ts";

export type NewIncrease = { amountNanoUsd: NanoUsd; reason: string; endsAt: Date };

/** At a time on one budget. The sum of so many at their largest is still a `bigint`. */
const RUNNING_MAX = 5;
const DURATION_MAX_MS = 366 * 24 * 60 * 60_000;
/** Budgets whose increases are ended at once; more are left to the next call or the next run. */
const LAPSED_MAX = 1_000;

/** Raises a budget for a while. Answers the increase's id. Throws what `changeBudget` throws. */
export async function increaseBudget(
  transaction: Transaction,
  budget: ChangedBudget,
  increase: NewIncrease,
  change: Change,
): Promise<string> {
  const { organizationId, id: budgetId } = budget;
  const endsInMs = increase.endsAt.getTime() - change.at.getTime();
  if (endsInMs <= 0 || endsInMs > DURATION_MAX_MS) {
    throw new PublicError("invalid_request", "It must end in the future, within a year.", {
      param: "endsAt",
    });
  }
  await lockForChange(transaction, budget);
  const named = { organizationId, budgetId };
  if ((await increasesRunning(transaction, named)) >= RUNNING_MAX) {
    throw new PublicError(
      "invalid_request",
      `A budget has at most ${RUNNING_MAX} increases at a time: end one first.`,
      { param: "amountUsd" },
    );
  }
  const id = newId("budgetIncrease", change.at);
  const row = { ...named, ...increase, id, createdAt: change.at, createdByUserId: change.userId };
  await increaseInsert(transaction, row);
  await budgetSumIncreases(transaction, named);
  await recordAuditEvent(
    transaction,
    {
      organizationId,
      action: "budget.increase",
      subjectId: budgetId,
      after: {
        increaseId: id,
        amountUsd: formatUsd(increase.amountNanoUsd),
        reason: increase.reason,
        endsAt: increase.endsAt.toISOString(),
      },
    },
    change,
  );
  return id;
}

/** Ends an increase before its time. Throws `not_found` when it does not run (any more). */
export async function endIncrease(
  transaction: Transaction,
  budget: ChangedBudget & { increaseId: string },
  change: Change,
): Promise<void> {
  const { organizationId, id: budgetId, increaseId } = budget;
  await lockForChange(transaction, budget);
  const named = { organizationId, budgetId };
  const ended = { endedAt: change.at, endedByUserId: change.userId };
  if (!(await increaseEnd(transaction, { ...named, ...ended, id: increaseId }))) {
    throw new PublicError("not_found", "The budget has no such increase that is running.");
  }
  await budgetSumIncreases(transaction, named);
  await recordEnd(transaction, named, increaseId, change);
}

/**
 * Ends every increase that is over, of one organization or of all (null). Answers how many budgets
 * fell back. Who comes second, on whatever node, finds nothing left to end.
 */
export async function endLapsedIncreases(
  sql: Sql,
  now: Date,
  organizationId: string | null,
): Promise<number> {
  const lapsed = await budgetsWithLapsedIncreases(sql, now, organizationId, LAPSED_MAX);
  for (const budget of lapsed) {
    await inTransaction(sql, async (transaction) => {
      await fallBack(
        transaction,
        { organizationId: budget.organization_id, budgetId: budget.budget_id },
        now,
      );
    });
  }
  return lapsed.length;
}

async function fallBack(
  transaction: Transaction,
  budget: { organizationId: string; budgetId: string },
  now: Date,
): Promise<void> {
  await budgetLock(transaction, { organizationId: budget.organizationId, id: budget.budgetId });
  const endedIds = await increasesEndLapsed(transaction, budget, now);
  if (endedIds.length === 0) {
    return;
  }
  await budgetSumIncreases(transaction, budget);
  for (const id of endedIds) {
    await recordEnd(transaction, budget, id, changeByInstallation(now));
  }
}

async function recordEnd(
  transaction: Transaction,
  { organizationId, budgetId }: { organizationId: string; budgetId: string },
  increaseId: string,
  change: Change,
): Promise<void> {
  await recordAuditEvent(
    transaction,
    {
      organizationId,
      action: "budget.increase_end",
      subjectId: budgetId,
      before: { increaseId, endedAt: null },
      after: { increaseId, endedAt: change.at.toISOString() },
    },
    change,
  );
}
