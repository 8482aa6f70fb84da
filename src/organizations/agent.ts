/**
 * Agents, owned by an employee, a team or a project, and subagents, owned by an agent. A subagent
 * stays one, and so does an agent: budgets and policies name what it is, and would no longer apply.
 */
import { type Change, recordAuditEvent } from "../audit/audit-event.ts";
import type { Transaction } from "../database/client.ts";
import { PublicError } from "../errors.ts";
import { newId } from "../id.ts";
import {
  type AgentOwner,
  type AgentRow,
  agentAncestorIds,
  agentFind,
  agentInsert,
  agentLevels,
  agentUpdate,
} from "./agent-queries.ts";
import { AGENT_DEPTH_MAX } from "./lineage.ts";
import { lockOrganization, type Place, requireActive } from "./place.ts";

type AgentFacts = { name: string; ownerKind: AgentOwner["kind"]; ownerId: string };
type NewAgent = { organizationId: string; name: string; owner: AgentOwner };

export const agentPlace: Place<AgentRow, AgentFacts> = {
  kind: "agent",
  find: agentFind,
  factsOf: (row) => ({ name: row.name, ownerKind: row.owner_kind, ownerId: row.owner_id }),
  refuseBad: async (transaction, agent, after, before) => {
    if (after.ownerKind !== before.ownerKind || after.ownerId !== before.ownerId) {
      await refuseBadMove(transaction, agent, ownerOf(after), ownerOf(before));
    }
  },
  update: (sql, agent, facts) =>
    agentUpdate(sql, { ...agent, name: facts.name, owner: ownerOf(facts) }),
};

/** Creates an agent. Answers its id. Throws `invalid_request` unless the owner is active. */
export async function createAgent(
  transaction: Transaction,
  agent: NewAgent,
  change: Change,
): Promise<string> {
  const { organizationId, name, owner } = agent;
  await lockOrganization(transaction, organizationId);
  await requireActive(transaction, { ...owner, organizationId }, "owner.id");
  refuseDeep(await ancestorIdsOf(transaction, organizationId, owner), 1);
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

async function refuseBadMove(
  transaction: Transaction,
  agent: { organizationId: string; id: string },
  to: AgentOwner,
  from: AgentOwner,
): Promise<void> {
  const { organizationId } = agent;
  if ((to.kind === "agent") !== (from.kind === "agent")) {
    const reason =
      from.kind === "agent"
        ? "A subagent can only be moved to another agent."
        : "An agent cannot become a subagent: move it to an employee, a team or a project.";
    throw new PublicError("invalid_request", reason, { param: "owner.kind" });
  }
  await requireActive(transaction, { ...to, organizationId }, "owner.id");
  const ancestorIds = await ancestorIdsOf(transaction, organizationId, to);
  if (ancestorIds.includes(agent.id)) {
    throw new PublicError("invalid_request", "It would be owned by itself.", { param: "owner.id" });
  }
  refuseDeep(ancestorIds, await agentLevels(transaction, agent, AGENT_DEPTH_MAX));
}

async function ancestorIdsOf(
  transaction: Transaction,
  organizationId: string,
  owner: AgentOwner,
): Promise<readonly string[]> {
  return owner.kind === "agent"
    ? await agentAncestorIds(transaction, { organizationId, id: owner.id }, AGENT_DEPTH_MAX)
    : [];
}

/** Every level is a scope of each request below it, so that there have to be few. */
function refuseDeep(ancestorIds: readonly string[], levels: number): void {
  if (ancestorIds.length + levels > AGENT_DEPTH_MAX) {
    throw new PublicError(
      "invalid_request",
      `Agents can be at most ${AGENT_DEPTH_MAX} levels deep.`,
      { param: "owner.id" },
    );
  }
}

function ownerOf({ ownerKind, ownerId }: AgentFacts): AgentOwner {
  return { kind: ownerKind, id: ownerId };
}
