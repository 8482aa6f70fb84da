-- The money functions behind the group-commit writer, last part: the one that the writer calls.

-- One batch of the writer. An empty part is null and costs nothing.
create function write_batch(
  windows json, has_rates boolean, closings json, closing_count integer, groups json,
  members json, has_idempotency boolean, requests json, written_at timestamptz
)
returns setof written
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
  closed_ids text[];
begin
  if windows is not null then
    perform lock_windows(windows, has_rates);
  end if;
  if closings is not null then
    closed_ids := close_reservations(closings, written_at);
    if cardinality(closed_ids) < closing_count then
      closed_ids := closed_ids || correct_reservations(closings, written_at);
      return query
      select
        'unchanged', c.reservation_id, coalesce(r.status, 'missing'), null::text, null::bigint,
        null::bigint, null::bigint
      from json_to_recordset(closings) as c(organization_id text, reservation_id text)
      left join reservations r
        on r.organization_id = c.organization_id and r.id = c.reservation_id
      where c.reservation_id <> all (closed_ids);
    end if;
  end if;
  if groups is not null then
    return query
    select *
    from reserve(windows, has_rates, groups, members, has_idempotency, written_at);
  end if;
  if requests is not null then
    perform record_requests(requests);
  end if;
end
$$;

create or replace function record_requests(requests json) returns void
language plpgsql
as $$
begin
  insert into gateway_requests (
    organization_id, id, received_at, route, api_key_id, actor_id, provider, model, is_streaming,
    policy_result, status, error_code, reservation_id, duration_ms
  )
  select
    organization_id, id, received_at, route, api_key_id, actor_id, provider, model, is_streaming,
    policy_result, status, error_code, reservation_id, duration_ms
  from json_to_recordset(requests) as r(
    organization_id text, id text, received_at timestamptz, route text, api_key_id text,
    actor_id text, provider text, model text, is_streaming boolean, policy_result text,
    status integer, error_code text, reservation_id text, duration_ms integer
  )
  -- A batch whose commit was not heard of is sent again; and what the sweeper wrote of a request
  -- gives way to what its own node knows.
  on conflict on constraint gateway_requests_pkey do update
  set
    status = excluded.status,
    error_code = excluded.error_code,
    is_streaming = excluded.is_streaming,
    duration_ms = excluded.duration_ms
  where gateway_requests.error_code = 'abandoned';
end
$$;
