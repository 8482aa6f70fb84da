/**
 * An organization's account at a company that sells models. It names the setting that holds the
 * secret; the secret itself never comes here.
 */
import { type Change, recordAuditEvent } from "../audit/audit-event.ts";
import type { Transaction } from "../database/client.ts";
import { newId } from "../id.ts";
import { openProviderPayableAccount } from "../ledger/account.ts";
import { providerAccountInsert } from "./queries.ts";

type NewProviderAccount = {
  organizationId: string;
  provider: string;
  name: string;
  baseUrl: string;
  /** Name of the setting that holds the provider's key, for example `OPENAI_API_KEY`. */
  secretName: string;
};

/** Creates the account and opens the ledger account that its calls are credited to. */
export async function createProviderAccount(
  transaction: Transaction,
  account: NewProviderAccount,
  change: Change,
): Promise<string> {
  const id = newId("providerAccount", change.at);
  await providerAccountInsert(transaction, { ...account, id, createdAt: change.at });
  const { organizationId, ...facts } = account;
  await openProviderPayableAccount(transaction, organizationId, account.provider, change.at);
  await recordAuditEvent(
    transaction,
    { organizationId, action: "provider_account.create", subjectId: id, after: facts },
    change,
  );
  return id;
}
