/** Branches: the first level below the organization. */
import { type Change, recordAuditEvent } from "../audit/audit-event.ts";
import type { Transaction } from "../database/client.ts";
import { newId } from "../id.ts";
import { type BranchRow, branchFind, branchInsert, branchUpdate } from "./branch-queries.ts";
import { lockOrganization, type Place } from "./place.ts";

type BranchFacts = { name: string };

export const branchPlace: Place<BranchRow, BranchFacts> = {
  kind: "branch",
  find: branchFind,
  factsOf: ({ name }) => ({ name }),
  // It has no parent but the organization.
  refuseBad: async () => {},
  update: (sql, branch, facts) => branchUpdate(sql, { ...branch, ...facts }),
};

/** Creates a branch. Answers its id. */
export async function createBranch(
  transaction: Transaction,
  branch: { organizationId: string } & BranchFacts,
  change: Change,
): Promise<string> {
  const { organizationId, ...facts } = branch;
  await lockOrganization(transaction, organizationId);
  const id = newId("branch", change.at);
  await branchInsert(transaction, { organizationId, id, ...facts, createdAt: change.at });
  await recordAuditEvent(
    transaction,
    { organizationId, action: "branch.create", subjectId: id, after: facts },
    change,
  );
  return id;
}
