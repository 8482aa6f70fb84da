/** A new team and its audit row. */
import { type Change, recordAuditEvent } from "../audit/audit-event.ts";
import type { Transaction } from "../database/client.ts";
import { newId } from "../id.ts";
import { teamInsert } from "./queries.ts";

type NewTeam = { organizationId: string; name: string };

/** Creates a team. Answers its id. */
export async function createTeam(
  transaction: Transaction,
  team: NewTeam,
  change: Change,
): Promise<string> {
  const id = newId("team", change.at);
  await teamInsert(transaction, { ...team, id, createdAt: change.at });
  const { organizationId, ...facts } = team;
  await recordAuditEvent(
    transaction,
    { organizationId, action: "team.create", subjectId: id, after: facts },
    change,
  );
  return id;
}
