/** SQL of changing budgets and policies: each change locks the row that it was decided on. */
import type { Transaction } from "../database/client.ts";
import type { NanoUsd } from "../money.ts";
import type { PolicyKind, PolicyMode, PolicySettings } from "./queries.ts";

type Named = { organizationId: string; id: string };

export type LockedBudgetRow = {
  name: string;
  amount_nano_usd: NanoUsd;
  increase_nano_usd: NanoUsd;
  version: number;
  archived_at: Date | null;
};

/** Against other changes, and against windows that are being opened with the present amount. */
export async function budgetLock(
  transaction: Transaction,
  { organizationId, id }: Named,
): Promise<LockedBudgetRow | null> {
  const [row] = await transaction<LockedBudgetRow[]>`
    -- name: budgets.lock
    select name, amount_nano_usd, increase_nano_usd, version, archived_at
    from budgets
    where organization_id = ${organizationId} and id = ${id}
    for no key update
  `;
  return row ?? null;
}

export async function budgetUpdate(
  transaction: Transaction,
  row: Named & { name: string; amountNanoUsd: NanoUsd },
): Promise<void> {
  await transaction`
    -- name: budgets.update
    update budgets
    set name = ${row.name}, amount_nano_usd = ${row.amountNanoUsd}
    where organization_id = ${row.organizationId} and id = ${row.id}
  `;
}

export async function budgetArchive(
  transaction: Transaction,
  row: Named & { archivedAt: Date },
): Promise<void> {
  await transaction`
    -- name: budgets.archive
    update budgets
    set archived_at = ${row.archivedAt}
    where organization_id = ${row.organizationId} and id = ${row.id}
  `;
}

export type LockedPolicyRow = {
  id: string;
  name: string;
  kind: PolicyKind;
  mode: PolicyMode;
  settings: PolicySettings;
  version: number;
  archived_at: Date | null;
};

export async function policyLock(
  transaction: Transaction,
  { organizationId, id }: Named,
): Promise<LockedPolicyRow | null> {
  const [row] = await transaction<LockedPolicyRow[]>`
    -- name: policies.lock
    select id, name, kind, mode, settings, version, archived_at
    from policies
    where organization_id = ${organizationId} and id = ${id}
    for no key update
  `;
  return row ?? null;
}

export async function policyUpdate(
  transaction: Transaction,
  row: Named & { name: string; mode: PolicyMode; settings: PolicySettings },
): Promise<void> {
  await transaction`
    -- name: policies.update
    update policies
    set name = ${row.name}, mode = ${row.mode}, settings = ${transaction.json(row.settings)}
    where organization_id = ${row.organizationId} and id = ${row.id}
  `;
}

export async function policyArchive(
  transaction: Transaction,
  row: Named & { archivedAt: Date },
): Promise<void> {
  await transaction`
    -- name: policies.archive
    update policies
    set archived_at = ${row.archivedAt}
    where organization_id = ${row.organizationId} and id = ${row.id}
  `;
}

/** Answers the ids of the caps that were archived: a cap is nothing without its budget. */
export async function capsArchive(
  transaction: Transaction,
  row: { organizationId: string; budgetId: string; archivedAt: Date },
): Promise<readonly string[]> {
  const rows = await transaction<{ id: string }[]>`
    -- name: policies.archive_caps
    update policies
    set archived_at = ${row.archivedAt}
    where organization_id = ${row.organizationId}
      and budget_id = ${row.budgetId}
      and archived_at is null
    returning id
  `;
  return rows.map(({ id }) => id);
}
