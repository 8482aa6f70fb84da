/** The kill switch: blocking a scope, a provider or a model, and lifting it again. */
import { z } from "zod";
import type { Queryable } from "../database/client.ts";
import { inTransaction } from "../database/transaction.ts";
import { requireFound } from "../errors.ts";
import { createBlock, liftBlock } from "../keys/block.ts";
import { type BlockRow, blockList } from "../keys/block-queries.ts";
import { SCOPE_KINDS } from "../organizations/scopes.ts";
import type { Dependencies } from "./dependencies.ts";
import { type Endpoint, noBody, noParams, noQuery, type Resource } from "./endpoint.ts";
import {
  idField,
  instant,
  modelGrantField,
  providerField,
  scopeField,
  timeField,
  timeOrNull,
} from "./fields.ts";
import { memberEndpoint } from "./member-endpoint.ts";
import { cursorOfId, idPlace, pageAnswer, pageOf, pageQuery } from "./page.ts";
import { InvalidFieldsError } from "./problem.ts";
import { reasonField } from "./reason-field.ts";

const EXAMPLE_ID = "blk_01KAJ3M2YV8Q4T6W9ZB5C7D1E2";
const TARGET_KINDS = [...SCOPE_KINDS, "provider", "model"] as const;
const STATES = ["in_force", "ended", "lifted"] as const;

const idParams = z.strictObject({ id: idField("block", EXAMPLE_ID) });

const targetField = z.discriminatedUnion("kind", [
  scopeField,
  z.strictObject({ kind: z.literal("provider"), id: providerField }),
  z.strictObject({ kind: z.literal("model"), id: modelGrantField }),
]);

const createBody = z.strictObject({
  target: targetField.meta({
    description:
      "A scope by its id; a provider by its name; a model as keys are granted it: `gpt-4o` " +
      "(OpenAI), `anthropic/claude-sonnet-4-5`, `anthropic/*`.",
  }),
  reason: reasonField.meta({ description: "Callers are told it: it must hold no secret." }),
  endsAt: timeField
    .nullish()
    .meta({ description: "Without it the block holds until it is lifted." }),
  cutRunning: z
    .boolean()
    .default(false)
    .meta({ description: "Whether running streams end as well, on every node." }),
});

const listQuery = pageQuery.extend({
  state: z
    .enum(["in_force", "all"], "must be in_force or all")
    .default("in_force")
    .meta({ description: "Without it only what blocks something now." }),
});

const blockAnswer = z.strictObject({
  id: z.string(),
  target: z.strictObject({ kind: z.enum(TARGET_KINDS), id: z.string() }),
  reason: z.string(),
  cutRunning: z.boolean(),
  state: z.enum(STATES),
  createdAt: instant,
  createdBy: z
    .strictObject({ userId: z.string(), name: z.string() })
    .nullable()
    .meta({ description: "Null where the installation itself did it." }),
  endsAt: instant.nullable(),
  liftedAt: instant.nullable(),
  liftedByUserId: z.string().nullable(),
});

const example: z.output<typeof blockAnswer> = {
  id: EXAMPLE_ID,
  target: { kind: "team", id: "tea_01KAJ3M2YV8Q4T6W9ZB5C7D1E2" },
  reason: "An agent of this team runs in a loop.",
  cutRunning: true,
  state: "in_force",
  createdAt: "2026-11-21T09:30:00.000Z",
  createdBy: { userId: "usr_01KAJ3M2YV8Q4T6W9ZB5C7D1E2", name: "Ada" },
  endsAt: null,
  liftedAt: null,
  liftedByUserId: null,
};

export function blockResource(dependencies: Dependencies): Resource {
  return {
    prefix: "/blocks",
    tag: "Blocks",
    endpoints: [
      listEndpoint(dependencies),
      createEndpoint(dependencies),
      readEndpoint(dependencies),
      liftEndpoint(dependencies),
    ],
  };
}

function listEndpoint(dependencies: Dependencies): Endpoint {
  return memberEndpoint(dependencies, {
    method: "GET",
    path: "",
    summary: "List blocks",
    description: "Newest first.",
    params: noParams,
    query: listQuery,
    body: noBody,
    capabilities: ["block.read"],
    answer: pageAnswer(blockAnswer),
    answerExample: { items: [example], nextCursor: null },
    run: async ({ query, member, now }) => {
      const rows = await blockList(dependencies.sql, {
        organizationId: member.organization.id,
        onlyId: null,
        inForceAt: query.state === "all" ? null : now,
        beforeId: idPlace("block", query),
        limit: query.limit + 1,
      });
      return pageOf(rows, query.limit, (row) => itemOf(row, now), cursorOfId);
    },
  });
}

function createEndpoint(dependencies: Dependencies): Endpoint {
  return memberEndpoint(dependencies, {
    method: "POST",
    path: "",
    summary: "Block a scope, a provider or a model",
    description:
      "Its calls are refused with 403 `blocked` and the reason, on every node, from the next " +
      "reservation on. What runs already ends by itself, unless `cutRunning` is true: then " +
      "streams end within a second, and what was used of them is booked.",
    params: noParams,
    query: noQuery,
    body: createBody,
    bodyExample: { target: example.target, reason: example.reason, cutRunning: true },
    capabilities: ["block.write"],
    answer: blockAnswer,
    answerExample: example,
    status: 201,
    run: async ({ body, member, now, change }) => {
      const endsAt = body.endsAt ?? null;
      if (endsAt !== null && endsAt <= now) {
        throw new InvalidFieldsError([{ field: "endsAt", reason: "must be in the future" }]);
      }
      const { target, reason, cutRunning: cutsRunning } = body;
      const { id: organizationId } = member.organization;
      return await inTransaction(dependencies.sql, async (transaction) => {
        const block = { organizationId, target, reason, cutsRunning, endsAt };
        const id = await createBlock(transaction, block, change);
        return itemOf(requireFound(await findBlock(transaction, organizationId, id), "block"), now);
      });
    },
  });
}

function readEndpoint(dependencies: Dependencies): Endpoint {
  return memberEndpoint(dependencies, {
    method: "GET",
    path: "/:id",
    summary: "Read a block",
    description: "Also one that has ended or was lifted.",
    params: idParams,
    query: noQuery,
    body: noBody,
    capabilities: ["block.read"],
    answer: blockAnswer,
    answerExample: example,
    run: async ({ params, member, now }) => {
      const row = await findBlock(dependencies.sql, member.organization.id, params.id);
      return itemOf(requireFound(row, "block"), now);
    },
  });
}

function liftEndpoint(dependencies: Dependencies): Endpoint {
  return memberEndpoint(dependencies, {
    method: "POST",
    path: "/:id/lift",
    summary: "Lift a block",
    description:
      "For good, from the next request on; other blocks on the same target stay. Lifting it " +
      "again changes nothing.",
    params: idParams,
    query: noQuery,
    body: noBody,
    capabilities: ["block.write"],
    answer: blockAnswer,
    answerExample: { ...example, state: "lifted", liftedAt: "2026-11-21T10:00:00.000Z" },
    run: async ({ params, member, now, change }) => {
      const block = { organizationId: member.organization.id, id: params.id };
      const row = await inTransaction(dependencies.sql, (transaction) =>
        liftBlock(transaction, block, change),
      );
      return itemOf(row, now);
    },
  });
}

async function findBlock(
  sql: Queryable,
  organizationId: string,
  id: string,
): Promise<BlockRow | null> {
  const only = { onlyId: id, inForceAt: null, beforeId: null, limit: 1 };
  const [row] = await blockList(sql, { organizationId, ...only });
  return row ?? null;
}

function itemOf(row: BlockRow, now: Date): z.output<typeof blockAnswer> {
  return {
    id: row.id,
    target: { kind: row.target_kind, id: row.target_id },
    reason: row.reason,
    cutRunning: row.cuts_running,
    state: stateOf(row, now),
    createdAt: row.created_at.toISOString(),
    createdBy:
      row.created_by_user_id === null
        ? null
        : { userId: row.created_by_user_id, name: row.created_by_name ?? "" },
    endsAt: timeOrNull(row.ends_at),
    liftedAt: timeOrNull(row.lifted_at),
    liftedByUserId: row.lifted_by_user_id,
  };
}

function stateOf(row: BlockRow, now: Date): (typeof STATES)[number] {
  if (row.lifted_at !== null) {
    return "lifted";
  }
  return row.ends_at !== null && row.ends_at <= now ? "ended" : "in_force";
}
