-- The money functions behind the group-commit writer, fourth part: deciding reservations. Plans are
-- pinned as in the first part.

create type written as (
  -- `window`: what a window of the batch holds now. `refused`: a reservation that was not granted.
  -- `unchanged`: a closing whose reservation had ended before.
  kind text,
  reservation_id text,
  -- Of a refusal: no_room, duplicate (the idempotency key is in use), stale (resolve again),
  -- key_unknown, key_revoked, key_expired, key_inactive. Of a closing: what the reservation had
  -- become before, or `missing` when there is none.
  outcome text,
  -- The window that is told of, or that refused; in nano-USD, tokens, requests or calls.
  window_id text,
  limit_units bigint,
  used_units bigint,
  held_units bigint
);

-- Decides reservations. Calls that share all but ids and amounts are one group; `members` stands
-- beside `groups` and has arrays of equal length, `ordinals` being places in the order of arrival
-- over the whole batch. `window_ordinals` are positions in `windows`, from 1; those in
-- `soft_ordinals` count and never refuse. A window's `asked` is what the whole batch asks of it:
-- when that fits wherever it binds, nothing is decided one by one.
create function reserve(
  windows json, has_rates boolean, groups json, members json, has_idempotency boolean,
  decided_at timestamptz
)
returns setof written
language plpgsql
as $$
declare
  organization_ids text[];
  ids text[];
  units text[];
  are_binding boolean[];
  limits bigint[];
  used bigint[];
  held bigint[];
  asked bigint[];
  taken bigint[];
  verdicts text[];
  is_refused boolean[] := '{}';
  -- Idempotency keys that were granted earlier in this very batch.
  used_keys text[] := '{}';
  all_fit boolean := not has_idempotency;
  needed bigint;
  ordinal integer;
  r record;
  answer written;
begin
  select
    array_agg(i.organization_id order by i.ordinal),
    array_agg(i.id order by i.ordinal),
    array_agg(w.unit order by i.ordinal),
    array_agg(i.is_binding order by i.ordinal),
    array_agg(coalesce(b.limit_nano_usd, w.limit_units) order by i.ordinal),
    array_agg(coalesce(b.settled_nano_usd, w.used_units) order by i.ordinal),
    array_agg(coalesce(b.held_nano_usd, w.held_units) order by i.ordinal),
    array_agg(i.asked order by i.ordinal),
    array_agg(0::bigint order by i.ordinal)
  into organization_ids, ids, units, are_binding, limits, used, held, asked, taken
  from rows from (
    json_to_recordset(windows) as (
      organization_id text, id text, is_binding boolean, asked bigint
    )
  ) with ordinality as i(organization_id, id, is_binding, asked, ordinal)
  left join lateral (
    select limit_nano_usd, settled_nano_usd, held_nano_usd
    from budget_windows
    where organization_id = i.organization_id and id = i.id
    offset 0
  ) b on true
  left join lateral (
    select unit, limit_units, used_units, held_units
    from rate_windows
    where has_rates and organization_id = i.organization_id and id = i.id
    offset 0
  ) w on true;

  select array_agg(
    case
      when k.id is null then 'key_unknown'
      when k.revoked_at is not null then 'key_revoked'
      when k.expires_at <= decided_at then 'key_expired'
      when not k.is_active then 'key_inactive'
      when k.epoch <> g.api_key_epoch or o.governance_epoch <> g.governance_epoch then 'stale'
      else 'granted'
    end
    order by g.ordinal
  )
  into verdicts
  from rows from (
    json_to_recordset(groups) as (
      organization_id text, api_key_id text, api_key_epoch bigint, governance_epoch bigint
    )
  ) with ordinality as g(organization_id, api_key_id, api_key_epoch, governance_epoch, ordinal)
  left join lateral (
    select id, epoch, is_active, revoked_at, expires_at
    from api_keys
    where organization_id = g.organization_id and id = g.api_key_id
    offset 0
  ) k on true
  left join lateral (
    select governance_epoch from organizations where id = g.organization_id offset 0
  ) o on true;

  all_fit := all_fit and 'granted' = all (verdicts);
  for ordinal in 1..cardinality(ids) loop
    -- A window that is not there (a backup was restored) has no room, not endless room.
    all_fit := all_fit and case
      when asked[ordinal] is null or not are_binding[ordinal] then true
      else coalesce(limits[ordinal] - used[ordinal] - held[ordinal] >= asked[ordinal], false)
    end;
  end loop;

  if all_fit then
    for ordinal in 1..cardinality(ids) loop
      taken[ordinal] := coalesce(asked[ordinal], 0);
    end loop;
  else
    for r in
      select
        m.ordinal, m.id, m.amount_nano_usd, m.tokens, g.window_ordinals, g.soft_ordinals,
        g.api_key_id || m.idempotency_hash as used_key,
        case
          when verdicts[g.ordinal] = 'granted' and d.id is not null then 'duplicate'
          else verdicts[g.ordinal]
        end as verdict
      from rows from (
        json_to_recordset(groups) as (
          organization_id text, api_key_id text, window_ordinals integer[],
          soft_ordinals integer[]
        ),
        json_to_recordset(members) as (
          ordinals integer[], ids text[], amounts bigint[], tokens bigint[],
          idempotency_hashes text[]
        )
      ) with ordinality as g(
        organization_id, api_key_id, window_ordinals,
        soft_ordinals,
        ordinals, ids, amounts, tokens,
        idempotency_hashes, ordinal
      )
      cross join lateral unnest(
        g.ordinals, g.ids, g.amounts, g.tokens, g.idempotency_hashes
      ) as m(ordinal, id, amount_nano_usd, tokens, idempotency_hash)
      left join lateral (
        -- Without the organization, which the key implies: the primary key begins with it.
        select id
        from reservations
        where api_key_id = g.api_key_id
          and idempotency_hash = decode(m.idempotency_hash, 'hex')
          and status <> 'released'
        offset 0
      ) d on true
      order by m.ordinal
    loop
      answer := row ('refused', r.id, r.verdict, null, null, null, null);
      if r.used_key = any (used_keys) then
        answer.outcome := 'duplicate';
      end if;
      if answer.outcome = 'granted' then
        foreach ordinal in array r.window_ordinals loop
          needed := case units[ordinal]
            when 'tokens' then r.tokens
            when 'requests' then 1
            when 'concurrent_calls' then 1
            else r.amount_nano_usd
          end;
          if limits[ordinal] is null
            or limits[ordinal] - used[ordinal] - held[ordinal] - taken[ordinal] < needed
          then
            answer.outcome := 'no_room';
            answer.window_id := ids[ordinal];
            answer.limit_units := limits[ordinal];
            answer.used_units := used[ordinal];
            answer.held_units := held[ordinal] + taken[ordinal];
            exit;
          end if;
        end loop;
      end if;
      if answer.outcome = 'granted' then
        foreach ordinal in array r.window_ordinals || r.soft_ordinals loop
          taken[ordinal] := taken[ordinal] + case units[ordinal]
            when 'tokens' then r.tokens
            when 'requests' then 1
            when 'concurrent_calls' then 1
            else r.amount_nano_usd
          end;
        end loop;
        used_keys := used_keys || r.used_key;
      else
        is_refused[r.ordinal] := true;
        return next answer;
      end if;
    end loop;
  end if;

  for ordinal in 1..cardinality(ids) loop
    if taken[ordinal] > 0 and units[ordinal] is null then
      update budget_windows
      set held_nano_usd = held_nano_usd + taken[ordinal]
      where organization_id = organization_ids[ordinal] and id = ids[ordinal];
    elsif taken[ordinal] > 0 then
      update rate_windows
      set held_units = held_units + taken[ordinal]
      where organization_id = organization_ids[ordinal] and id = ids[ordinal];
    end if;
  end loop;

  insert into reservations (
    organization_id, id, request_id, api_key_id, actor_id, team_id, project_id, provider, model,
    route, amount_nano_usd, window_ids, rate_window_ids, rate_units, prompt_tokens_max,
    completion_tokens_max, price_version, node_id, reserved_at, deadline_at, idempotency_hash,
    body_hash
  )
  select
    g.organization_id, m.id, m.request_id, g.api_key_id, g.actor_id, g.team_id, g.project_id,
    g.provider, g.model, g.route, m.amount_nano_usd, g.window_ids, g.rate_window_ids,
    case
      when g.rate_window_ids is not null then array(
        select case when u.unit = 'tokens' then m.tokens else 1 end
        from unnest(g.rate_units) with ordinality as u(unit, ordinal)
        order by u.ordinal
      )
    end,
    m.prompt_tokens_max, m.tokens - m.prompt_tokens_max,
    g.price_version, g.node_id, decided_at, m.deadline_at,
    decode(m.idempotency_hash, 'hex'), decode(m.body_hash, 'hex')
  from rows from (
    json_to_recordset(groups) as (
      organization_id text, api_key_id text, actor_id text, team_id text, project_id text,
      provider text, model text, route text, price_version text, node_id text,
      window_ids text[], rate_window_ids text[], rate_units text[]
    ),
    json_to_recordset(members) as (
      ordinals integer[], ids text[], request_ids text[], amounts bigint[],
      prompt_tokens_maxes bigint[], tokens bigint[], deadlines timestamptz[],
      idempotency_hashes text[], body_hashes text[]
    )
  ) as g(
    organization_id, api_key_id, actor_id, team_id, project_id,
    provider, model, route, price_version, node_id,
    window_ids, rate_window_ids, rate_units,
    ordinals, ids, request_ids, amounts,
    prompt_tokens_maxes, tokens, deadlines,
    idempotency_hashes, body_hashes
  )
  cross join lateral unnest(
    g.ordinals, g.ids, g.request_ids, g.amounts,
    g.prompt_tokens_maxes, g.tokens, g.deadlines,
    g.idempotency_hashes, g.body_hashes
  ) as m(
    ordinal, id, request_id, amount_nano_usd,
    prompt_tokens_max, tokens, deadline_at,
    idempotency_hash, body_hash
  )
  where is_refused[m.ordinal] is null;

  for ordinal in 1..cardinality(ids) loop
    if asked[ordinal] is not null then
      return next row (
        'window', null, null, ids[ordinal], limits[ordinal], used[ordinal],
        held[ordinal] + taken[ordinal]
      )::written;
    end if;
  end loop;
end
$$;
