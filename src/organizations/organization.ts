/** A new organization: its row, the ledger account it spends from, and the audit row. */
import { type Change, recordAuditEvent } from "../audit/audit-event.ts";
import type { Transaction } from "../database/client.ts";
import { newId } from "../id.ts";
import { openSpendAccount } from "../ledger/account.ts";
import { organizationInsert } from "./queries.ts";

type NewOrganization = {
  name: string;
  /** Output limit of a request where neither the request nor the model has one. */
  completionTokensDefault?: number;
};

const COMPLETION_TOKENS_DEFAULT = 4_096;

/** Creates an organization and opens its spend account. Answers its id. */
export async function createOrganization(
  transaction: Transaction,
  organization: NewOrganization,
  change: Change,
): Promise<string> {
  const id = newId("organization", change.at);
  await organizationInsert(transaction, {
    id,
    name: organization.name,
    completionTokensDefault: organization.completionTokensDefault ?? COMPLETION_TOKENS_DEFAULT,
    createdAt: change.at,
  });
  await openSpendAccount(transaction, id, change.at);
  await recordAuditEvent(
    transaction,
    {
      organizationId: id,
      action: "organization.create",
      subjectId: id,
      after: { name: organization.name },
    },
    change,
  );
  return id;
}
