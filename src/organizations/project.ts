/** A new project and its audit row. */
import { type Change, recordAuditEvent } from "../audit/audit-event.ts";
import type { Transaction } from "../database/client.ts";
import { newId } from "../id.ts";
import { projectInsert } from "./queries.ts";

type NewProject = {
  organizationId: string;
  name: string /** Null for a project that runs parallel to the teams. */;
  teamId: string | null;
};

/** Creates a project. Answers its id. */
export async function createProject(
  transaction: Transaction,
  project: NewProject,
  change: Change,
): Promise<string> {
  const id = newId("project", change.at);
  await projectInsert(transaction, { ...project, id, createdAt: change.at });
  const { organizationId, ...facts } = project;
  await recordAuditEvent(
    transaction,
    { organizationId, action: "project.create", subjectId: id, after: facts },
    change,
  );
  return id;
}
