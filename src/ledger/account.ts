/**
 * The two accounts that a settlement moves money between: what the organization spends (debit) and
 * what it owes the provider (credit). Their ids follow from their owner, so that no call has to
 * look them up; the foreign key refuses an entry whose account was never opened.
 */
import type { Queryable } from "../database/client.ts";
import { idSuffix } from "../id.ts";

export function spendAccountId(organizationId: string): string {
  return `acc_${idSuffix(organizationId)}_spend`;
}

export function providerAccountId(organizationId: string, provider: string): string {
  return `acc_${idSuffix(organizationId)}_${provider}`;
}

/** Opens the account that an organization's spending is debited to. Twice is no error. */
export async function openSpendAccount(
  sql: Queryable,
  organizationId: string,
  openedAt: Date,
): Promise<void> {
  await sql`
    -- name: ledger_accounts.open_spend
    insert into ledger_accounts (organization_id, id, kind, created_at)
    values (${organizationId}, ${spendAccountId(organizationId)}, 'spend', ${openedAt})
    on conflict do nothing
  `;
}

/** Opens the account that a provider's calls are credited to. Twice is no error. */
export async function openProviderPayableAccount(
  sql: Queryable,
  organizationId: string,
  provider: string,
  openedAt: Date,
): Promise<void> {
  await sql`
    -- name: ledger_accounts.open_provider
    insert into ledger_accounts (organization_id, id, kind, provider, created_at)
    values (
      ${organizationId}, ${providerAccountId(organizationId, provider)}, 'provider', ${provider},
      ${openedAt}
    )
    on conflict do nothing
  `;
}
