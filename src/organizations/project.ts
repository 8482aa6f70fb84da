/** Projects: in a team, in a branch, or parallel to both. */
import { type Change, recordAuditEvent } from "../audit/audit-event.ts";
import type { Transaction } from "../database/client.ts";
import { PublicError } from "../errors.ts";
import { newId } from "../id.ts";
import { lockOrganization, type Place, requireActive } from "./place.ts";
import { type ProjectRow, projectFind, projectInsert, projectUpdate } from "./project-queries.ts";

type ProjectFacts = { name: string; branchId: string | null; teamId: string | null };

type NewProject = {
  organizationId: string;
  name: string;
  /** Without both it runs parallel to branches and teams. */
  branchId?: string | null | undefined;
  teamId?: string | null | undefined;
};

export const projectPlace: Place<ProjectRow, ProjectFacts> = {
  kind: "project",
  find: projectFind,
  factsOf: (row) => ({ name: row.name, branchId: row.branch_id, teamId: row.team_id }),
  refuseBad: async (transaction, { organizationId }, after, before) => {
    if (after.branchId !== before.branchId || after.teamId !== before.teamId) {
      await refuseBadParent(transaction, organizationId, after);
    }
  },
  update: (sql, project, facts) => projectUpdate(sql, { ...project, ...facts }),
};

/** Creates a project. Answers its id. Throws `invalid_request` unless its parent is active. */
export async function createProject(
  transaction: Transaction,
  project: NewProject,
  change: Change,
): Promise<string> {
  const { organizationId, name, branchId = null, teamId = null } = project;
  await lockOrganization(transaction, organizationId);
  const facts = { name, branchId, teamId };
  await refuseBadParent(transaction, organizationId, facts);
  const id = newId("project", change.at);
  await projectInsert(transaction, { organizationId, id, ...facts, createdAt: change.at });
  await recordAuditEvent(
    transaction,
    { organizationId, action: "project.create", subjectId: id, after: facts },
    change,
  );
  return id;
}

async function refuseBadParent(
  transaction: Transaction,
  organizationId: string,
  { branchId, teamId }: ProjectFacts,
): Promise<void> {
  if (branchId !== null && teamId !== null) {
    throw new PublicError(
      "invalid_request",
      "A project is in a team or in a branch, not in both: its team is in a branch already.",
      { param: "branchId" },
    );
  }
  if (branchId !== null) {
    await requireActive(transaction, { kind: "branch", organizationId, id: branchId }, "branchId");
  }
  if (teamId !== null) {
    await requireActive(transaction, { kind: "team", organizationId, id: teamId }, "teamId");
  }
}
