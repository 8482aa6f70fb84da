/** SQL of the proof of bookings: reservations, spend events and ledger entries, side by side. */
import type { Queryable } from "../database/client.ts";
import { DIFFERENCES_KEPT_MAX } from "./difference.ts";

/** The id of the reservation that many places further on, or null when there are not so many. */
export async function reservationPageEnd(
  sql: Queryable,
  page: { organizationId: string; afterId: string; size: number },
): Promise<string | null> {
  const rows = await sql<{ id: string }[]>`
    -- name: reservations.page_end
    select id
    from reservations
    where organization_id = ${page.organizationId} and id > ${page.afterId}
    order by id
    offset ${page.size - 1}
    limit 1
  `;
  return rows[0]?.id ?? null;
}

/** The newest reservation made before this instant: where the recent ones begin; `''` for none. */
export async function reservationBefore(
  sql: Queryable,
  organizationId: string,
  before: Date,
): Promise<string> {
  const rows = await sql<{ id: string }[]>`
    -- name: reservations.newest_before
    select id
    from reservations
    where organization_id = ${organizationId} and reserved_at < ${before}
    order by reserved_at desc, id desc
    limit 1
  `;
  return rows[0]?.id ?? "";
}

export type BookingDifferenceRow = {
  reservation_id: string;
  status: string | null;
  code: string;
  cost_nano_usd: bigint | null;
  event_count: bigint;
  event_nano_usd: bigint;
  entry_count: bigint;
  entry_nano_usd: bigint;
  drift_nano_usd: bigint;
  /** Of all that differ, also of those beyond the limit. */
  total_count: bigint;
  total_drift_nano_usd: bigint;
};

/**
 * Reservations of a range of ids whose bookings are not exactly what their end calls for, and
 * bookings without a reservation. All three tables are read through an index on that id.
 */
export async function bookingDifferences(
  sql: Queryable,
  page: { organizationId: string; afterId: string; throughId: string | null },
): Promise<readonly BookingDifferenceRow[]> {
  const { organizationId, afterId, throughId } = page;
  return await sql<BookingDifferenceRow[]>`
    -- name: reservations.booking_differences
    with ended as (
      select
        id, request_id, api_key_id, actor_id, provider, status,
        status in ('settled', 'expired') as is_booked,
        cost_nano_usd
      from reservations
      where organization_id = ${organizationId}
        and id > ${afterId}
        and (${throughId}::text is null or id <= ${throughId})
    ),
    events as (
      select
        reservation_id as id, count(*) as event_count, sum(cost_nano_usd)::bigint as event_nano_usd,
        min(id) as event_id, min(request_id) as event_request_id, min(api_key_id) as event_key_id
      from spend_events
      where organization_id = ${organizationId}
        and reservation_id > ${afterId}
        and (${throughId}::text is null or reservation_id <= ${throughId})
      group by reservation_id
    ),
    entries as (
      select
        e.reservation_id as id, count(*) as entry_count,
        sum(e.amount_nano_usd)::bigint as entry_nano_usd,
        min(e.kind) as entry_kind, min(e.request_id) as entry_request_id,
        min(e.api_key_id) as entry_key_id, min(e.actor_id) as entry_actor_id,
        min(e.spend_event_id) as entry_event_id, min(d.kind) as debit_kind,
        min(c.provider) as credit_provider
      from ledger_entries e
      left join ledger_accounts d
        on d.organization_id = e.organization_id and d.id = e.debit_account_id
      left join ledger_accounts c
        on c.organization_id = e.organization_id and c.id = e.credit_account_id
      where e.organization_id = ${organizationId}
        and e.reservation_id > ${afterId}
        and (${throughId}::text is null or e.reservation_id <= ${throughId})
        and e.kind in ('settlement', 'recovery')
      group by e.reservation_id
    ),
    compared as (
      select
        id as reservation_id, r.status, r.cost_nano_usd,
        coalesce(s.event_count, 0) as event_count, coalesce(s.event_nano_usd, 0) as event_nano_usd,
        coalesce(e.entry_count, 0) as entry_count, coalesce(e.entry_nano_usd, 0) as entry_nano_usd,
        case
          when r.status is null then 'reservation_missing'
          when r.is_booked and s.event_count is null then 'spend_event_missing'
          when not r.is_booked and s.event_count > 0 then 'spend_event_unexpected'
          when s.event_count > 1 then 'spend_event_repeated'
          when s.event_nano_usd <> r.cost_nano_usd then 'spend_event_differs'
          when (s.event_request_id, s.event_key_id) <> (r.request_id, r.api_key_id)
            then 'spend_event_links_elsewhere'
          when r.is_booked and r.cost_nano_usd > 0 and e.entry_count is null
            then 'ledger_entry_missing'
          when coalesce(r.cost_nano_usd, 0) = 0 and e.entry_count > 0
            then 'ledger_entry_unexpected'
          when e.entry_count > 1 then 'ledger_entry_repeated'
          when e.entry_nano_usd <> r.cost_nano_usd then 'ledger_entry_differs'
          when e.entry_count = 1 and (
            e.entry_request_id, e.entry_key_id, e.entry_actor_id, e.entry_event_id, e.entry_kind,
            e.debit_kind, e.credit_provider
          ) is distinct from (
            r.request_id, r.api_key_id, r.actor_id, s.event_id,
            case r.status when 'expired' then 'recovery' else 'settlement' end,
            'spend', r.provider
          )
            then 'ledger_entry_links_elsewhere'
        end as code
      from ended r
      full join events s using (id)
      full join entries e using (id)
    ),
    differing as (
      select
        *,
        greatest(
          abs(coalesce(cost_nano_usd, 0) - event_nano_usd),
          abs(coalesce(cost_nano_usd, 0) - entry_nano_usd)
        ) as drift_nano_usd
      from compared
      where code is not null
    )
    select
      reservation_id, status, code, cost_nano_usd, event_count, event_nano_usd, entry_count,
      entry_nano_usd, drift_nano_usd,
      count(*) over () as total_count,
      (sum(drift_nano_usd) over ())::bigint as total_drift_nano_usd
    from differing
    order by reservation_id
    limit ${DIFFERENCES_KEPT_MAX}
  `;
}
