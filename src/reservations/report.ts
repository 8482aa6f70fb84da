/**
 * Counts, amounts and the oldest of an organization's reservations by status, as they stand or as
 * they stood at an instant. Nothing is kept for it: when a reservation was made, ended and
 * corrected is written once and never changed, so that any past instant can be asked for.
 */
import type { Queryable } from "../database/client.ts";
import { newId } from "../id.ts";
import type { ReservationStatus } from "./listing.ts";

export type ReservationStatusRow = {
  status: ReservationStatus;
  count: bigint;
  /** Sum of the bounds. */
  amount_nano_usd: bigint;
  /** Sum of what was booked. */
  cost_nano_usd: bigint;
  oldest_reserved_at: Date;
};

/** An id is made at most this long before its reservation is decided, by the same clock. */
const ID_AGE_MAX_MS = 60_000;
const ID_RANDOM_CHARACTERS = 16;

/** Null when there is no such reservation. */
export async function reservationStatus(
  sql: Queryable,
  organizationId: string,
  reservationId: string,
): Promise<ReservationStatus | null> {
  const [row] = await sql<{ status: ReservationStatus }[]>`
    -- name: reservations.status
    select status
    from reservations
    where organization_id = ${organizationId} and id = ${reservationId}
  `;
  return row?.status ?? null;
}

/**
 * A row for each status that there is, of the reservations made from `since` (null: ever) to `at`,
 * as they stood at `at`. `actorIds` null means every actor's.
 */
export async function reservationReport(
  sql: Queryable,
  span: {
    organizationId: string;
    actorIds: readonly string[] | null;
    since: Date | null;
    at: Date;
  },
): Promise<readonly ReservationStatusRow[]> {
  // Ids sort by time: only that part of the primary key is read.
  const fromId = span.since === null ? "" : firstIdAt(span.since.getTime() - ID_AGE_MAX_MS);
  const beforeId = firstIdAt(span.at.getTime() + ID_AGE_MAX_MS);
  return await sql<ReservationStatusRow[]>`
    -- name: reservations.report
    select
      case when ended_at <= ${span.at} then status else 'held' end as status,
      count(*) as count,
      sum(amount_nano_usd)::bigint as amount_nano_usd,
      coalesce(sum(
        case
          when ended_at > ${span.at} then 0
          -- The sweeper had booked the bound; the true cost replaced it later.
          when corrected_at > ${span.at} then amount_nano_usd
          else cost_nano_usd
        end
      ), 0)::bigint as cost_nano_usd,
      min(reserved_at) as oldest_reserved_at
    from reservations
    where organization_id = ${span.organizationId}
      and id >= ${fromId} and id < ${beforeId}
      and reserved_at <= ${span.at}
      and (${span.since}::timestamptz is null or reserved_at >= ${span.since})
      and (${span.actorIds}::text[] is null or actor_id = any(${span.actorIds}::text[]))
    group by 1
  `;
}

/** Sorts before every id that is made at this instant or later. */
function firstIdAt(madeAtMs: number): string {
  return newId("reservation", new Date(Math.max(0, madeAtMs))).slice(0, -ID_RANDOM_CHARACTERS);
}
