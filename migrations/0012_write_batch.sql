-- The money functions behind the group-commit writer, second half: deciding reservations, recording
-- requests, and the one function that the writer calls.

-- Decides reservations in arrival order. `window_ordinals` are positions in `windows`, from 1.
-- Answers one row a reservation: the window that refused it, or for a granted one the window that
-- has least left after it. Outcomes: granted, no_room, duplicate (the idempotency key is in use),
-- stale (resolve again), key_unknown, key_revoked, key_expired, key_inactive.
create function reserve(windows json, reservations json, decided_at timestamptz)
returns table (
  reservation_id text, outcome text, window_id text,
  limit_nano_usd bigint, settled_nano_usd bigint, held_nano_usd bigint
)
language plpgsql
set enable_hashjoin = off
set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
  window_ids text[];
  limits bigint[];
  settled bigint[];
  rooms bigint[];
  taken bigint[];
  is_granted boolean[] := '{}';
  -- Idempotency keys that were granted earlier in this very batch.
  used_keys text[] := '{}';
  tightest integer;
  ordinal integer;
  r record;
begin
  select
    array_agg(b.id order by i.ordinal),
    array_agg(b.limit_nano_usd order by i.ordinal),
    array_agg(b.settled_nano_usd order by i.ordinal),
    array_agg(b.limit_nano_usd - b.settled_nano_usd - b.held_nano_usd order by i.ordinal),
    array_agg(0::bigint order by i.ordinal)
  into window_ids, limits, settled, rooms, taken
  from rows from (json_to_recordset(windows) as (organization_id text, id text))
    with ordinality as i(organization_id, id, ordinal)
  left join budget_windows b on b.organization_id = i.organization_id and b.id = i.id;

  for r in
    select
      i.id, i.amount_nano_usd, i.window_ordinals, i.ordinal,
      i.api_key_id || i.idempotency_hash as used_key,
      case
        when k.id is null then 'key_unknown'
        when k.revoked_at is not null then 'key_revoked'
        when k.expires_at <= decided_at then 'key_expired'
        when not k.is_active then 'key_inactive'
        when d.id is not null then 'duplicate'
        when k.epoch <> i.api_key_epoch or o.governance_epoch <> i.governance_epoch then 'stale'
        else 'granted'
      end as verdict
    from rows from (
      json_to_recordset(reservations) as (
        organization_id text, id text, api_key_id text, api_key_epoch bigint,
        governance_epoch bigint, amount_nano_usd bigint, window_ordinals integer[],
        idempotency_hash text
      )
    ) with ordinality as i(
      organization_id, id, api_key_id, api_key_epoch,
      governance_epoch, amount_nano_usd, window_ordinals,
      idempotency_hash, ordinal
    )
    left join api_keys k on k.organization_id = i.organization_id and k.id = i.api_key_id
    left join organizations o on o.id = i.organization_id
    left join reservations d
      on d.organization_id = i.organization_id
      and d.api_key_id = i.api_key_id
      and d.idempotency_hash = decode(i.idempotency_hash, 'hex')
      and d.status <> 'released'
    order by i.ordinal
  loop
    outcome := case when r.used_key = any(used_keys) then 'duplicate' else r.verdict end;
    tightest := null;
    if outcome = 'granted' then
      foreach ordinal in array r.window_ordinals loop
        -- A window that vanished (its budget was deleted by hand) has no room, not endless room.
        if rooms[ordinal] is null or rooms[ordinal] < r.amount_nano_usd then
          outcome := 'no_room';
          tightest := ordinal;
          exit;
        end if;
        if tightest is null or rooms[ordinal] < rooms[tightest] then
          tightest := ordinal;
        end if;
      end loop;
    end if;
    if outcome = 'granted' then
      foreach ordinal in array r.window_ordinals loop
        rooms[ordinal] := rooms[ordinal] - r.amount_nano_usd;
        taken[ordinal] := taken[ordinal] + r.amount_nano_usd;
      end loop;
      if r.used_key is not null then
        used_keys := used_keys || r.used_key;
      end if;
    end if;
    is_granted[r.ordinal] := outcome = 'granted';
    reservation_id := r.id;
    window_id := window_ids[tightest];
    limit_nano_usd := limits[tightest];
    settled_nano_usd := settled[tightest];
    held_nano_usd := limits[tightest] - settled[tightest] - rooms[tightest];
    return next;
  end loop;

  update budget_windows b
  set held_nano_usd = b.held_nano_usd + taken[i.ordinal]
  from rows from (json_to_recordset(windows) as (organization_id text, id text))
    with ordinality as i(organization_id, id, ordinal)
  where b.organization_id = i.organization_id and b.id = i.id and taken[i.ordinal] > 0;

  insert into reservations (
    organization_id, id, request_id, api_key_id, actor_id, team_id, project_id, provider, model,
    route, amount_nano_usd, window_ids, prompt_tokens_max, completion_tokens_max, price_version,
    node_id, reserved_at, deadline_at, idempotency_hash, body_hash
  )
  select
    i.organization_id, i.id, i.request_id, i.api_key_id, i.actor_id, i.team_id, i.project_id,
    i.provider, i.model, i.route, i.amount_nano_usd, i.window_ids, i.prompt_tokens_max,
    i.completion_tokens_max, i.price_version, i.node_id, decided_at, i.deadline_at,
    decode(i.idempotency_hash, 'hex'), decode(i.body_hash, 'hex')
  from rows from (
    json_to_recordset(reservations) as (
      organization_id text, id text, request_id text, api_key_id text, actor_id text, team_id text,
      project_id text, provider text, model text, route text, amount_nano_usd bigint,
      window_ids text[], prompt_tokens_max bigint, completion_tokens_max bigint,
      price_version text, node_id text, deadline_at timestamptz,
      idempotency_hash text, body_hash text
    )
  ) with ordinality as i(
    organization_id, id, request_id, api_key_id, actor_id, team_id,
    project_id, provider, model, route, amount_nano_usd,
    window_ids, prompt_tokens_max, completion_tokens_max,
    price_version, node_id, deadline_at,
    idempotency_hash, body_hash, ordinal
  )
  where is_granted[i.ordinal];
end
$$;

create function record_requests(requests json) returns void
language sql as $$
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
  where gateway_requests.error_code = 'abandoned'
$$;

-- One batch of the writer. An empty part is null and costs nothing.
create function write_batch(
  windows json, closings json, new_reservations json, requests json, written_at timestamptz
)
returns table (
  reservation_id text, outcome text, window_id text,
  limit_nano_usd bigint, settled_nano_usd bigint, held_nano_usd bigint
)
language plpgsql as $$
begin
  if windows is not null then
    perform open_windows(windows);
    perform lock_windows(windows);
  end if;
  if closings is not null then
    return query
    select c.reservation_id, 'closed', null::text, null::bigint, null::bigint, null::bigint
    from close_reservations(closings, written_at) c;
  end if;
  if new_reservations is not null then
    return query select * from reserve(windows, new_reservations, written_at);
  end if;
  if requests is not null then
    perform record_requests(requests);
  end if;
end
$$;
