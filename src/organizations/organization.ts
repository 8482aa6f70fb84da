/** Organizations: creating one with the ledger account it spends from, and changing its profile. */
import { type Change, recordAuditEvent } from "../audit/audit-event.ts";
import type { Transaction } from "../database/client.ts";
import { requireVersion } from "../database/require-version.ts";
import { requireFound } from "../errors.ts";
import { newId } from "../id.ts";
import { openSpendAccount } from "../ledger/account.ts";
import { type Changes, lockOrganization } from "./place.ts";
import {
  type OrganizationRow,
  organizationFind,
  organizationInsert,
  organizationUpdate,
} from "./queries.ts";

type Profile = { name: string; completionTokensDefault: number };

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

/**
 * Changes an organization's profile and answers its row. Changing it to what it is changes nothing.
 * Throws `not_found` and `version_stale`.
 */
export async function changeOrganization(
  transaction: Transaction,
  target: { id: string; expectedVersion: number },
  changes: Changes<Profile>,
  change: Change,
): Promise<OrganizationRow> {
  const { id } = target;
  await lockOrganization(transaction, id);
  const row = await findOrganization(transaction, id);
  requireVersion(row, target.expectedVersion);
  const before = { name: row.name, completionTokensDefault: row.completion_tokens_default };
  const after = {
    name: changes.name ?? before.name,
    completionTokensDefault: changes.completionTokensDefault ?? before.completionTokensDefault,
  };
  if (
    after.name === before.name &&
    after.completionTokensDefault === before.completionTokensDefault
  ) {
    return row;
  }
  await organizationUpdate(transaction, { id, ...after });
  await recordAuditEvent(
    transaction,
    { organizationId: id, action: "organization.change", subjectId: id, before, after },
    change,
  );
  return await findOrganization(transaction, id);
}

async function findOrganization(transaction: Transaction, id: string): Promise<OrganizationRow> {
  const row = await organizationFind(transaction, id);
  return requireFound(row, "organization");
}
