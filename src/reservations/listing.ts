/**
 * The reservations of an organization, newest first, for people who look at them. Ids sort by the
 * time they were made, so that the primary key is the only index that this needs.
 */
import type { Queryable } from "../database/client.ts";

export const RESERVATION_STATUSES = ["held", "settled", "released", "expired"] as const;

export type ReservationStatus = (typeof RESERVATION_STATUSES)[number];

export type ReservationRow = {
  id: string;
  request_id: string;
  api_key_id: string;
  actor_id: string;
  team_id: string | null;
  project_id: string | null;
  provider: string;
  model: string;
  route: string;
  amount_nano_usd: bigint;
  cost_nano_usd: bigint | null;
  status: ReservationStatus;
  reserved_at: Date;
  deadline_at: Date;
  ended_at: Date | null;
};

/** `actorIds` null means every actor's. */
export async function reservationList(
  sql: Queryable,
  page: {
    organizationId: string;
    actorIds: readonly string[] | null;
    status: ReservationStatus | null;
    beforeId: string;
    limit: number;
  },
): Promise<readonly ReservationRow[]> {
  return await sql<ReservationRow[]>`
    -- name: reservations.list
    select
      id, request_id, api_key_id, actor_id, team_id, project_id, provider, model, route,
      amount_nano_usd, cost_nano_usd, status, reserved_at, deadline_at, ended_at
    from reservations
    where organization_id = ${page.organizationId}
      and id < ${page.beforeId}
      and (${page.actorIds}::text[] is null or actor_id = any(${page.actorIds}::text[]))
      and (${page.status}::text is null or status = ${page.status})
    order by id desc
    limit ${page.limit}
  `;
}
