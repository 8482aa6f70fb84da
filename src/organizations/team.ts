/** Teams: in a branch, or directly below the organization. */
import { type Change, recordAuditEvent } from "../audit/audit-event.ts";
import type { Transaction } from "../database/client.ts";
import { newId } from "../id.ts";
import { lockOrganization, type Place, requireActive } from "./place.ts";
import { type TeamRow, teamFind, teamInsert, teamUpdate } from "./team-queries.ts";

type TeamFacts = { name: string; branchId: string | null };
type NewTeam = { organizationId: string; name: string; branchId?: string | null | undefined };

export const teamPlace: Place<TeamRow, TeamFacts> = {
  kind: "team",
  find: teamFind,
  factsOf: (row) => ({ name: row.name, branchId: row.branch_id }),
  refuseBad: async (transaction, { organizationId }, after, before) => {
    if (after.branchId !== before.branchId) {
      await refuseBadBranch(transaction, organizationId, after);
    }
  },
  update: (sql, team, facts) => teamUpdate(sql, { ...team, ...facts }),
};

/** Creates a team. Answers its id. Throws `invalid_request` unless its branch is active. */
export async function createTeam(
  transaction: Transaction,
  team: NewTeam,
  change: Change,
): Promise<string> {
  const { organizationId, name, branchId = null } = team;
  await lockOrganization(transaction, organizationId);
  const facts = { name, branchId };
  await refuseBadBranch(transaction, organizationId, facts);
  const id = newId("team", change.at);
  await teamInsert(transaction, { organizationId, id, ...facts, createdAt: change.at });
  await recordAuditEvent(
    transaction,
    { organizationId, action: "team.create", subjectId: id, after: facts },
    change,
  );
  return id;
}

async function refuseBadBranch(
  transaction: Transaction,
  organizationId: string,
  { branchId }: TeamFacts,
): Promise<void> {
  if (branchId !== null) {
    await requireActive(transaction, { kind: "branch", organizationId, id: branchId }, "branchId");
  }
}
