/** Agents, owned by an employee, a team or a project; subagents, owned by an agent. */
import { z } from "zod";
import { agentPlace, createAgent } from "../organizations/agent.ts";
import { type AgentRow, agentList, OWNER_KINDS } from "../organizations/agent-queries.ts";
import type { Dependencies } from "./dependencies.ts";
import type { Resource } from "./endpoint.ts";
import { idField, nameField } from "./fields.ts";
import { placeResource } from "./place-endpoints.ts";
import {
  changesField,
  EXAMPLE_IDS,
  placeAnswer,
  placeExample,
  placeItemOf,
} from "./place-fields.ts";

const ownerField = z
  .discriminatedUnion("kind", [
    ownerOfKind("employee"),
    ownerOfKind("team"),
    ownerOfKind("project"),
    ownerOfKind("agent"),
  ])
  .meta({ description: "Owned by an agent it is a subagent, and stays one." });

const createBody = z.strictObject({ name: nameField, owner: ownerField });

const agentAnswer = placeAnswer.extend({
  owner: z.strictObject({ kind: z.enum(OWNER_KINDS), id: z.string() }),
});

export function agentResource(dependencies: Dependencies): Resource {
  const owner = { kind: "team", id: EXAMPLE_IDS.team } as const;
  return placeResource(dependencies, {
    nouns: "agents",
    place: agentPlace,
    item: agentAnswer,
    example: { ...placeExample, id: EXAMPLE_IDS.agent, name: "Support agent", owner },
    toItem: agentOf,
    list: agentList,
    createBody,
    createExample: { name: "Support agent", owner },
    create: async (transaction, organizationId, body, change) =>
      await createAgent(transaction, { ...body, organizationId }, change),
    changeBody: changesField(createBody.partial()),
    changeExample: { owner },
    changesOf: (body) => ({
      name: body.name,
      ownerKind: body.owner?.kind,
      ownerId: body.owner?.id,
    }),
  });
}

function ownerOfKind<Kind extends (typeof OWNER_KINDS)[number]>(kind: Kind) {
  return z.strictObject({ kind: z.literal(kind), id: idField(kind, EXAMPLE_IDS[kind]) });
}

function agentOf(row: AgentRow): z.output<typeof agentAnswer> {
  return { ...placeItemOf(row), owner: { kind: row.owner_kind, id: row.owner_id } };
}
