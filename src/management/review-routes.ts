/** Reviews: what calls wait for a person to permit, and the decision. */
import { z } from "zod";
import { denyReview, grantReview } from "../budgets/review.ts";
import { type ReviewRow, reviewList } from "../budgets/review-queries.ts";
import type { Queryable } from "../database/client.ts";
import { inTransaction } from "../database/transaction.ts";
import { requireFound } from "../errors.ts";
import { formatUsd } from "../money.ts";
import type { Dependencies } from "./dependencies.ts";
import { type Endpoint, noBody, noParams, noQuery, type Resource } from "./endpoint.ts";
import { amountField, idField, instant, timeField, timeOrNull, usd } from "./fields.ts";
import { memberEndpoint } from "./member-endpoint.ts";
import { cursorOfId, idPlace, pageAnswer, pageOf, pageQuery } from "./page.ts";
import { reasonField } from "./reason-field.ts";
import { changeEndpoint, versionAnswer } from "./versioned.ts";

const STATUSES = ["open", "granted", "denied"] as const;
const PERMIT_KINDS = ["once", "until"] as const;
const PERMIT_COVERS = ["key", "actor"] as const;
const EXAMPLE_ID = "rev_01KAJ3M2YV8Q4T6W9ZB5C7D1E2";

const permitAnswer = z.strictObject({
  kind: z.enum(PERMIT_KINDS),
  covers: z.enum(PERMIT_COVERS),
  amountMaxUsd: usd,
  endsAt: instant,
  usedAt: instant.nullable().meta({ description: "When the one call was made that it permits." }),
});

const reviewAnswer = z.strictObject({
  id: z.string(),
  policyId: z.string(),
  policyName: z.string(),
  apiKeyId: z.string(),
  apiKeyName: z.string(),
  actorId: z.string(),
  provider: z.string(),
  model: z.string(),
  amountUsd: usd.meta({ description: "The most that one of the calls could have cost." }),
  requestCount: z.int().meta({ description: "How many calls were refused for it." }),
  requestedAt: instant,
  lastRequestedAt: instant,
  status: z.enum(STATUSES),
  reason: z.string().nullable(),
  decidedAt: instant.nullable(),
  permit: permitAnswer.nullable().meta({ description: "Set when it was granted." }),
  version: versionAnswer,
});

const example: z.output<typeof reviewAnswer> = {
  id: EXAMPLE_ID,
  policyId: "pol_01KAJ3M2YV8Q4T6W9ZB5C7D1E2",
  policyName: "Ask above two dollars",
  apiKeyId: "key_01KAJ3M2YV8Q4T6W9ZB5C7D1E2",
  apiKeyName: "Checkout assistant",
  actorId: "emp_01KAJ3M2YV8Q4T6W9ZB5C7D1E2",
  provider: "openai",
  model: "gpt-4o",
  amountUsd: "2.5",
  requestCount: 1,
  requestedAt: "2026-11-21T09:30:00.000Z",
  lastRequestedAt: "2026-11-21T09:30:00.000Z",
  status: "open",
  reason: null,
  decidedAt: null,
  permit: null,
  version: 1,
};

const params = z.strictObject({ id: idField("review", EXAMPLE_ID) });

const grantBody = z.strictObject({
  permit: z.enum(PERMIT_KINDS).default("once").meta({
    description: "once: the next such call; until: any number of them until `endsAt`.",
  }),
  covers: z.enum(PERMIT_COVERS).default("key").meta({
    description: "The key that asked, or every key of its employee or agent.",
  }),
  amountMaxUsd: amountField.optional().meta({
    description: "Dearer calls need another permit. What was asked for at most, if left out.",
  }),
  endsAt: timeField.optional().meta({
    description: "At most 31 days away. Needed for until; a day from now for once, if left out.",
  }),
  reason: reasonField.optional(),
});

const denyBody = z.strictObject({ reason: reasonField.optional() });

export function reviewResource(dependencies: Dependencies): Resource {
  return {
    prefix: "/reviews",
    tag: "Policies",
    endpoints: [
      listEndpoint(dependencies),
      readEndpoint(dependencies),
      grantEndpoint(dependencies),
      denyEndpoint(dependencies),
    ],
  };
}

function listEndpoint(dependencies: Dependencies): Endpoint {
  return memberEndpoint(dependencies, {
    method: "GET",
    path: "",
    summary: "List reviews",
    description: "Newest first.",
    params: noParams,
    query: pageQuery.extend({ status: z.enum(STATUSES).optional() }),
    body: noBody,
    capabilities: ["review.read"],
    answer: pageAnswer(reviewAnswer),
    answerExample: { items: [example], nextCursor: null },
    run: async ({ query, member }) => {
      const rows = await reviewList(dependencies.sql, {
        organizationId: member.organization.id,
        status: query.status ?? null,
        onlyId: null,
        beforeId: idPlace("review", query),
        limit: query.limit + 1,
      });
      return pageOf(rows, query.limit, itemOf, cursorOfId);
    },
  });
}

function readEndpoint(dependencies: Dependencies): Endpoint {
  return memberEndpoint(dependencies, {
    method: "GET",
    path: "/:id",
    summary: "Read a review",
    description: "Its id is in the refusal `review_required`.",
    params,
    query: noQuery,
    body: noBody,
    capabilities: ["review.read"],
    answer: reviewAnswer,
    answerExample: example,
    run: async ({ params: { id }, member }) =>
      await readReview(dependencies.sql, member.organization.id, id),
  });
}

function grantEndpoint(dependencies: Dependencies): Endpoint {
  return changeEndpoint(dependencies, {
    method: "POST",
    path: "/:id/grant",
    summary: "Permit what a review asks for",
    description:
      "The next call of this key (or actor) to this model passes the policy, once or until an " +
      "instant. Caps and limits bind it as ever.",
    params,
    query: noQuery,
    body: grantBody,
    bodyExample: { permit: "once", reason: "Agreed with the team lead" },
    capabilities: ["review.decide"],
    answer: reviewAnswer,
    answerExample: { ...example, status: "granted", version: 2 },
    run: async ({ params: { id }, body, member, change, expectedVersion }) => {
      const { id: organizationId } = member.organization;
      const { permit: kind, covers, amountMaxUsd, endsAt, reason = null } = body;
      const permit = { kind, covers, maxNanoUsd: amountMaxUsd ?? null, endsAt: endsAt ?? null };
      const review = { organizationId, id, expectedVersion, reason, permit };
      return await inTransaction(dependencies.sql, async (transaction) => {
        await grantReview(transaction, review, change);
        return await readReview(transaction, organizationId, id);
      });
    },
  });
}

function denyEndpoint(dependencies: Dependencies): Endpoint {
  return changeEndpoint(dependencies, {
    method: "POST",
    path: "/:id/deny",
    summary: "Deny a review",
    description: "Also takes away a permit that was not spent. Another call asks anew.",
    params,
    query: noQuery,
    body: denyBody,
    bodyExample: { reason: "Use the small model" },
    capabilities: ["review.decide"],
    answer: reviewAnswer,
    answerExample: { ...example, status: "denied", version: 2 },
    run: async ({ params: { id }, body, member, change, expectedVersion }) => {
      const { id: organizationId } = member.organization;
      const review = { organizationId, id, expectedVersion, reason: body.reason ?? null };
      return await inTransaction(dependencies.sql, async (transaction) => {
        await denyReview(transaction, review, change);
        return await readReview(transaction, organizationId, id);
      });
    },
  });
}

async function readReview(
  sql: Queryable,
  organizationId: string,
  onlyId: string,
): Promise<z.output<typeof reviewAnswer>> {
  const beforeId = idPlace("review", { limit: 1 });
  const [row] = await reviewList(sql, { organizationId, status: null, onlyId, beforeId, limit: 1 });
  return itemOf(requireFound(row, "review"));
}

function itemOf(row: ReviewRow): z.output<typeof reviewAnswer> {
  return {
    id: row.id,
    policyId: row.policy_id,
    policyName: row.policy_name,
    apiKeyId: row.api_key_id,
    apiKeyName: row.api_key_name,
    actorId: row.actor_id,
    provider: row.provider,
    model: row.model,
    amountUsd: formatUsd(row.amount_nano_usd),
    requestCount: Number(row.request_count),
    requestedAt: row.requested_at.toISOString(),
    lastRequestedAt: row.last_requested_at.toISOString(),
    status: row.status,
    reason: row.reason,
    decidedAt: timeOrNull(row.decided_at),
    permit: permitOf(row),
    version: row.version,
  };
}

function permitOf(row: ReviewRow): z.output<typeof permitAnswer> | null {
  const { permit_kind: kind, permit_covers: covers, permit_max_nano_usd: most } = row;
  if (kind === null || covers === null || most === null || row.permit_ends_at === null) {
    return null;
  }
  const amountMaxUsd = formatUsd(most);
  const endsAt = row.permit_ends_at.toISOString();
  return { kind, covers, amountMaxUsd, endsAt, usedAt: timeOrNull(row.used_at) };
}
