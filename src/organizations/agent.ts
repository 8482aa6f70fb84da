/** A new agent, owned by an employee, a team or a project; or a subagent, owned by an agent. */
import { type Change, recordAuditEvent } from "../audit/audit-event.ts";
import type { Transaction } from "../database/client.ts";
import { newId } from "../id.ts";
import { type AgentOwner, agentInsert } from "./queries.ts";

type NewAgent = { organizationId: string; name: string; owner: AgentOwner };

/** Creates an agent. Answers its id. */
export async function createAgent(
  transaction: Transaction,
  agent: NewAgent,
  change: Change,
): Promise<string> {
  const { organizationId, name, owner } = agent;
  const id = newId("agent", change.at);
  await agentInsert(transaction, { organizationId, id, name, owner, createdAt: change.at });
  await recordAuditEvent(
    transaction,
    {
      organizationId,
      action: "agent.create",
      subjectId: id,
      after: { name, ownerKind: owner.kind, ownerId: owner.id },
    },
    change,
  );
  return id;
}
