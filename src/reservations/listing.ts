/** The reservations of an organization, newest first, for people who look at them. */
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
  reserved_at_us: bigint;
  deadline_at: Date;
  ended_at: Date | null;
};

/**
 * `actorIds` null means every actor's. `before.at` is a timestamptz as text, or `infinity`: sent as
 * text, because the driver would cut a time to milliseconds.
 */
export async function reservationList(
  sql: Queryable,
  page: {
    organizationId: string;
    actorIds: readonly string[] | null;
    status: ReservationStatus | null;
    before: { at: string; id: string };
    limit: number;
  },
): Promise<readonly ReservationRow[]> {
  return await sql<ReservationRow[]>`
    -- name: reservations.list
    select
      id, request_id, api_key_id, actor_id, team_id, project_id, provider, model, route,
      amount_nano_usd, cost_nano_usd, status, reserved_at,
      (extract(epoch from reserved_at) * 1000000)::bigint as reserved_at_us,
      deadline_at, ended_at
    from reservations
    where organization_id = ${page.organizationId}
      and (reserved_at, id) < (${page.before.at}::text::timestamptz, ${page.before.id})
      and (${page.actorIds}::text[] is null or actor_id = any(${page.actorIds}::text[]))
      and (${page.status}::text is null or status = ${page.status})
    order by reserved_at desc, id desc
    limit ${page.limit}
  `;
}
