/** Reservations, read only: one by one, and summed up. */
import { z } from "zod";
import { formatUsd } from "../money.ts";
import {
  RESERVATION_STATUSES,
  type ReservationRow,
  reservationList,
} from "../reservations/listing.ts";
import type { Dependencies } from "./dependencies.ts";
import { noBody, noParams, type Resource } from "./endpoint.ts";
import { instant, timeOrNull, usd, usdOrNull } from "./fields.ts";
import { memberEndpoint } from "./member-endpoint.ts";
import { cursorOfId, idPlace, pageAnswer, pageOf, pageQuery } from "./page.ts";
import { baselineEndpoint, reportEndpoint } from "./reservation-report-routes.ts";

const reservationAnswer = z.strictObject({
  id: z.string(),
  requestId: z.string(),
  apiKeyId: z.string(),
  actorId: z.string(),
  teamId: z.string().nullable(),
  projectId: z.string().nullable(),
  provider: z.string(),
  model: z.string(),
  route: z.string(),
  amountUsd: usd.meta({ description: "The most the call could cost." }),
  costUsd: usd.nullable().meta({ description: "What was booked; null unless settled or expired." }),
  status: z.enum(RESERVATION_STATUSES),
  reservedAt: instant,
  deadlineAt: instant,
  endedAt: instant.nullable(),
});

const example: z.output<typeof reservationAnswer> = {
  id: "rsv_01KAJ3M2YV8Q4T6W9ZB5C7D1E2",
  requestId: "req_01KAJ3M2YV8Q4T6W9ZB5C7D1E2",
  apiKeyId: "key_01KAJ3M2YV8Q4T6W9ZB5C7D1E2",
  actorId: "emp_01KAJ3M2YV8Q4T6W9ZB5C7D1E2",
  teamId: null,
  projectId: null,
  provider: "openai",
  model: "gpt-4o-mini",
  route: "/v1/chat/completions",
  amountUsd: "0.0105",
  costUsd: "0.00123",
  status: "settled",
  reservedAt: "2026-11-21T09:30:00.000Z",
  deadlineAt: "2026-11-21T09:40:00.000Z",
  endedAt: "2026-11-21T09:30:02.000Z",
};

export function reservationResource(dependencies: Dependencies): Resource {
  const list = memberEndpoint(dependencies, {
    method: "GET",
    path: "",
    summary: "List reservations",
    description: "Newest first. An employee sees only their own work.",
    params: noParams,
    query: pageQuery.extend({ status: z.enum(RESERVATION_STATUSES).optional() }),
    body: noBody,
    capabilities: ["reservation.read"],
    answer: pageAnswer(reservationAnswer),
    answerExample: { items: [example], nextCursor: null },
    run: async ({ query, member }) => {
      const rows = await reservationList(dependencies.sql, {
        organizationId: member.organization.id,
        actorIds: member.visibleEmployeeIds,
        status: query.status ?? null,
        beforeId: idPlace("reservation", query),
        limit: query.limit + 1,
      });
      return pageOf(rows, query.limit, itemOf, cursorOfId);
    },
  });
  const endpoints = [list, reportEndpoint(dependencies), baselineEndpoint(dependencies)];
  return { prefix: "/reservations", tag: "Reservations", endpoints };
}

function itemOf(row: ReservationRow): z.output<typeof reservationAnswer> {
  return {
    id: row.id,
    requestId: row.request_id,
    apiKeyId: row.api_key_id,
    actorId: row.actor_id,
    teamId: row.team_id,
    projectId: row.project_id,
    provider: row.provider,
    model: row.model,
    route: row.route,
    amountUsd: formatUsd(row.amount_nano_usd),
    costUsd: usdOrNull(row.cost_nano_usd),
    status: row.status,
    reservedAt: row.reserved_at.toISOString(),
    deadlineAt: row.deadline_at.toISOString(),
    endedAt: timeOrNull(row.ended_at),
  };
}
