/** SQL of the proof of bookings: reservations, spend events and ledger entries, side by side. */
import type { Queryable } from "../database/client.ts";
import { earliestId } from "../id.ts";
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
    where organization_id = ${organizationId} and id < ${earliestId("reservation", before)}
    order by id desc
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
        status in ('settled', 'expired') as is_booked, corrected_at is not null as is_corrected,
        cost_nano_usd
      from reservations
      where organization_id = ${organizationId}
        and id > ${afterId}
        and (${throughId}::text is null or id <= ${throughId})
    ),
    events as (
      -- A recovered event whose place the truth took is not in force any more.
      select
        s.reservation_id as id, count(*) as event_count,
        sum(s.cost_nano_usd)::bigint as event_nano_usd,
        min(s.id) as event_id, min(s.request_id) as event_request_id,
        min(s.api_key_id) as event_key_id
      from spend_events s
      left join ended r on r.id = s.reservation_id
      where s.organization_id = ${organizationId}
        and s.reservation_id > ${afterId}
        and (${throughId}::text is null or s.reservation_id <= ${throughId})
        and not (s.usage_source = 'recovered' and r.is_corrected is true)
      group by s.reservation_id
    ),
    reversed as (
      select
        e.reservation_id as id,
        sum(e.amount_nano_usd) filter (where e.kind = 'recovery') as recovered_nano_usd,
        sum(e.amount_nano_usd) filter (where e.kind = 'reversal') as reversed_nano_usd
      from ended r
      join ledger_entries e on e.organization_id = ${organizationId} and e.reservation_id = r.id
      where r.is_corrected
      group by e.reservation_id
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
      left join ended r on r.id = e.reservation_id
      left join ledger_accounts d
        on d.organization_id = e.organization_id and d.id = e.debit_account_id
      left join ledger_accounts c
        on c.organization_id = e.organization_id and c.id = e.credit_account_id
      where e.organization_id = ${organizationId}
        and e.reservation_id > ${afterId}
        and (${throughId}::text is null or e.reservation_id <= ${throughId})
        and e.kind in ('settlement', 'recovery')
        and not (e.kind = 'recovery' and r.is_corrected is true)
      group by e.reservation_id
    ),
    compared as (
      select
        id as reservation_id, r.status, r.cost_nano_usd,
        coalesce(s.event_count, 0) as event_count, coalesce(s.event_nano_usd, 0) as event_nano_usd,
        coalesce(e.entry_count, 0) as entry_count, coalesce(e.entry_nano_usd, 0) as entry_nano_usd,
        case
          when r.status is null then 'reservation_missing'
          when v.recovered_nano_usd is distinct from v.reversed_nano_usd
            then 'recovery_not_reversed'
          -- A correction to nothing, because nothing was bought, leaves no event in force.
          when r.is_booked and not (r.is_corrected and r.cost_nano_usd = 0)
            and s.event_count is null
            then 'spend_event_missing'
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
            case
              when r.status = 'expired' and not r.is_corrected then 'recovery' else 'settlement'
            end,
            'spend', r.provider
          )
            then 'ledger_entry_links_elsewhere'
        end as code
      from ended r
      full join events s using (id)
      full join entries e using (id)
      left join reversed v using (id)
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
