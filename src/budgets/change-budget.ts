/**
 * Changing a budget: its name and amount, or archiving it. A changed amount holds at once, in the
 * open windows too (a trigger). What is archived counts no more; its windows stay for the books.
 */
import { type Change, recordAuditEvent } from "../audit/audit-event.ts";
import type { Transaction } from "../database/client.ts";
import { requireVersion } from "../database/require-version.ts";
import { PublicError } from "../errors.ts";
import { formatUsd, type NanoUsd } from "../money.ts";
import {
  budgetArchive,
  budgetLock,
  budgetUpdate,
  capsArchive,
  type LockedBudgetRow,
} from "./change-queries.ts";

export type ChangedBudget = { organizationId: string; id: string; expectedVersion: number };

/** Throws `not_found`, `archived` or `version_stale`. What is not given stays as it is. */
export async function changeBudget(
  transaction: Transaction,
  budget: ChangedBudget & { name?: string | undefined; amountNanoUsd?: NanoUsd | undefined },
  change: Change,
): Promise<void> {
  const row = await lockForChange(transaction, budget);
  const name = budget.name ?? row.name;
  const amountNanoUsd = budget.amountNanoUsd ?? row.amount_nano_usd;
  await budgetUpdate(transaction, { ...budget, name, amountNanoUsd });
  const facts = (of: { name: string; amountNanoUsd: NanoUsd }) => ({
    name: of.name,
    amountUsd: formatUsd(of.amountNanoUsd),
  });
  await recordAuditEvent(
    transaction,
    {
      organizationId: budget.organizationId,
      action: "budget.change",
      subjectId: budget.id,
      before: facts({ name: row.name, amountNanoUsd: row.amount_nano_usd }),
      after: facts({ name, amountNanoUsd }),
    },
    change,
  );
}

/** Archives a budget and the caps on it. Throws `not_found`, `archived` or `version_stale`. */
export async function archiveBudget(
  transaction: Transaction,
  budget: ChangedBudget,
  change: Change,
): Promise<void> {
  await lockForChange(transaction, budget);
  const { organizationId, id: budgetId } = budget;
  const archivedAt = change.at;
  // The caps first: whoever changes one locks it, and then what the first change here locks, the
  // organization's row with its epoch.
  const capIds = await capsArchive(transaction, { organizationId, budgetId, archivedAt });
  await budgetArchive(transaction, { ...budget, archivedAt });
  const archived = {
    before: { archivedAt: null },
    after: { archivedAt: archivedAt.toISOString() },
  };
  const event = { organizationId, ...archived };
  await recordAuditEvent(
    transaction,
    { ...event, action: "budget.archive", subjectId: budgetId },
    change,
  );
  for (const subjectId of capIds) {
    await recordAuditEvent(transaction, { ...event, action: "policy.archive", subjectId }, change);
  }
}

/** The budget, locked to the transaction's end. Throws `not_found`, `archived`, `version_stale`. */
export async function lockForChange(
  transaction: Transaction,
  { organizationId, id, expectedVersion }: ChangedBudget,
): Promise<LockedBudgetRow> {
  const row = await budgetLock(transaction, { organizationId, id });
  if (row === null) {
    throw new PublicError("not_found", "There is no such budget.");
  }
  if (row.archived_at !== null) {
    throw new PublicError("archived", "The budget is archived and cannot be changed.");
  }
  requireVersion(row, expectedVersion);
  return row;
}
