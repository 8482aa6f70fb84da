/** What came to the gateway, granted or refused, read only. */
import { z } from "zod";
import { type RequestRow, requestList } from "../operations/request-log.ts";
import type { Dependencies } from "./dependencies.ts";
import { noBody, noParams, type Resource } from "./endpoint.ts";
import { instant } from "./fields.ts";
import { memberEndpoint } from "./member-endpoint.ts";
import { cursorOfId, idPlace, pageAnswer, pageOf, pageQuery } from "./page.ts";

const requestAnswer = z.strictObject({
  id: z.string(),
  receivedAt: instant,
  route: z.string(),
  apiKeyId: z.string(),
  actorId: z.string().nullable(),
  provider: z.string().nullable(),
  model: z.string().nullable(),
  isStreaming: z.boolean(),
  policyResult: z.string().meta({ description: "`granted`, or the code of the refusal." }),
  status: z.int(),
  errorCode: z.string().nullable(),
  reservationId: z.string().nullable(),
  durationMs: z.int(),
});

const example: z.output<typeof requestAnswer> = {
  id: "req_01KAJ3M2YV8Q4T6W9ZB5C7D1E2",
  receivedAt: "2026-11-21T09:30:00.000Z",
  route: "/v1/chat/completions",
  apiKeyId: "key_01KAJ3M2YV8Q4T6W9ZB5C7D1E2",
  actorId: "emp_01KAJ3M2YV8Q4T6W9ZB5C7D1E2",
  provider: "openai",
  model: "gpt-4o-mini",
  isStreaming: true,
  policyResult: "budget_exceeded",
  status: 402,
  errorCode: "budget_exceeded",
  reservationId: null,
  durationMs: 3,
};

export function requestResource(dependencies: Dependencies): Resource {
  const list = memberEndpoint(dependencies, {
    method: "GET",
    path: "",
    summary: "List gateway requests",
    description: "Newest first, refused ones included. An employee sees only their own work.",
    params: noParams,
    query: pageQuery,
    body: noBody,
    capabilities: ["request.read"],
    answer: pageAnswer(requestAnswer),
    answerExample: { items: [example], nextCursor: null },
    run: async ({ query, member }) => {
      const rows = await requestList(dependencies.sql, {
        organizationId: member.organization.id,
        actorIds: member.visibleEmployeeIds,
        beforeId: idPlace("request", query),
        limit: query.limit + 1,
      });
      return pageOf(rows, query.limit, itemOf, cursorOfId);
    },
  });
  return { prefix: "/requests", tag: "Requests", endpoints: [list] };
}

function itemOf(row: RequestRow): z.output<typeof requestAnswer> {
  return {
    id: row.id,
    receivedAt: row.received_at.toISOString(),
    route: row.route,
    apiKeyId: row.api_key_id,
    actorId: row.actor_id,
    provider: row.provider,
    model: row.model,
    isStreaming: row.is_streaming,
    policyResult: row.policy_result,
    status: row.status,
    errorCode: row.error_code,
    reservationId: row.reservation_id,
    durationMs: row.duration_ms,
  };
}
