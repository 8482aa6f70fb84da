-- The money functions behind the group-commit writer, first part: windows and closings. These and
-- the next three migrations' take the place of 0011 and 0012. Windows that are used for the first
-- time are opened beforehand, in a transaction of their own. One batch is one transaction:
--   1. lock every window of the batch, in id order, before anything is decided (measured: ordered
--      locks 0 deadlocks in 19,200 transactions; updates in arrival order 737)
--   2. close reservations (settle, release, expire), which may free room
--   3. decide new reservations one by one in arrival order, each over all its windows or none
--   4. record requests
--
-- Plans are pinned (by `write_batch`): always look-ups by key, planned once a connection. The
-- planner takes any JSON for 100 rows, and with free choice it scanned whole tables or the index of
-- all that is held, thirty times slower (measured with 28,000 held). A statement here therefore
-- never says `status = 'held'`, which would invite that index; `ended_at is null` is the same.

drop function write_batch(json, json, json, json, timestamptz);
drop function close_reservations(json, timestamptz);
drop function reserve(json, json, timestamptz);
drop function lock_windows(json);
drop function open_windows(json);

create function open_windows(windows json) returns void
language plpgsql
as $$
begin
  -- Sorted: two nodes that open the same windows wait for each other in one order.
  insert into budget_windows (
    organization_id, id, budget_id, window_start, window_end, limit_nano_usd
  )
  select w.organization_id, w.id, w.budget_id, w.window_start, w.window_end, b.amount_nano_usd
  from json_to_recordset(windows) as w(
    organization_id text, id text, budget_id text, window_start timestamptz, window_end timestamptz
  )
  join budgets b on b.organization_id = w.organization_id and b.id = w.budget_id
  order by w.organization_id, w.id
  -- Waits for a change of the amount that is under way: it does not see the window that is opened
  -- here, and the window would keep the old amount for its whole period.
  for share of b
  on conflict do nothing;

  insert into rate_windows (
    organization_id, id, policy_id, unit, window_start, window_end, limit_units
  )
  select
    w.organization_id, w.id, w.policy_id, p.settings ->> 'unit', w.window_start, w.window_end,
    (p.settings ->> 'limit')::bigint
  from json_to_recordset(windows) as w(
    organization_id text, id text, policy_id text, window_start timestamptz, window_end timestamptz
  )
  join policies p on p.organization_id = w.organization_id and p.id = w.policy_id
  where p.kind = 'rate_limit'
  order by w.organization_id, w.id
  for share of p
  on conflict do nothing;
end
$$;

create function lock_windows(windows json, has_rates boolean) returns void
language plpgsql
as $$
begin
  perform
  from json_to_recordset(windows) as i(organization_id text, id text)
  join budget_windows w on w.organization_id = i.organization_id and w.id = i.id
  order by w.organization_id, w.id
  for no key update of w;

  if has_rates then
    perform
    from json_to_recordset(windows) as i(organization_id text, id text)
    join rate_windows w on w.organization_id = i.organization_id and w.id = i.id
    order by w.organization_id, w.id
    for no key update of w;
  end if;
end
$$;

-- Ends held reservations and books what they cost, in one statement. A second closing of the same
-- reservation finds it ended and changes nothing. Answers the ids that were ended here, in no
-- order. Counts that are not given are 0.
create function close_reservations(closings json, closed_at timestamptz) returns text[]
language plpgsql
as $$
declare
  ended_ids text[];
begin
  with ended as (
    update reservations r
    set
      status = c.status,
      cost_nano_usd = c.cost_nano_usd,
      ended_at = closed_at,
      settled_at = case when c.status = 'settled' then closed_at end
    from json_to_recordset(closings) as c(
      organization_id text, reservation_id text, status text, occurred_at timestamptz,
      spend_event_id text, ledger_entry_id text, debit_account_id text, credit_account_id text,
      usage_source text, price_version text, cost_nano_usd bigint,
      input_uncached_tokens bigint, input_cache_read_tokens bigint,
      input_cache_write_5m_tokens bigint, input_cache_write_1h_tokens bigint,
      input_audio_tokens bigint, input_image_tokens bigint,
      output_text_tokens bigint, output_reasoning_tokens bigint,
      output_audio_tokens bigint, output_image_tokens bigint,
      tool_calls bigint, searches bigint, provider_usage jsonb
    )
    where r.organization_id = c.organization_id
      and r.id = c.reservation_id
      and r.ended_at is null
    returning
      r.organization_id, r.id, r.request_id, r.api_key_id, r.actor_id, r.team_id, r.project_id,
      r.provider, r.model, r.amount_nano_usd, r.window_ids, r.rate_window_ids, r.rate_units,
      c.status, c.occurred_at, c.spend_event_id, c.ledger_entry_id, c.debit_account_id,
      c.credit_account_id, c.usage_source, c.price_version,
      coalesce(c.cost_nano_usd, 0) as cost_nano_usd,
      coalesce(c.input_uncached_tokens, 0) as input_uncached_tokens,
      coalesce(c.input_cache_read_tokens, 0) as input_cache_read_tokens,
      coalesce(c.input_cache_write_5m_tokens, 0) as input_cache_write_5m_tokens,
      coalesce(c.input_cache_write_1h_tokens, 0) as input_cache_write_1h_tokens,
      coalesce(c.input_audio_tokens, 0) as input_audio_tokens,
      coalesce(c.input_image_tokens, 0) as input_image_tokens,
      coalesce(c.output_text_tokens, 0) as output_text_tokens,
      coalesce(c.output_reasoning_tokens, 0) as output_reasoning_tokens,
      coalesce(c.output_audio_tokens, 0) as output_audio_tokens,
      coalesce(c.output_image_tokens, 0) as output_image_tokens,
      coalesce(c.tool_calls, 0) as tool_calls,
      coalesce(c.searches, 0) as searches,
      c.provider_usage
  ),
  new_spend_events as (
    insert into spend_events (
      organization_id, id, occurred_at, reservation_id, request_id, api_key_id, provider, model,
      usage_source, price_version, cost_nano_usd, is_overage,
      input_uncached_tokens, input_cache_read_tokens,
      input_cache_write_5m_tokens, input_cache_write_1h_tokens,
      input_audio_tokens, input_image_tokens,
      output_text_tokens, output_reasoning_tokens, output_audio_tokens, output_image_tokens,
      tool_calls, searches, provider_usage
    )
    select
      organization_id, spend_event_id, occurred_at, id, request_id, api_key_id, provider, model,
      usage_source, price_version, cost_nano_usd, cost_nano_usd > amount_nano_usd,
      input_uncached_tokens, input_cache_read_tokens,
      input_cache_write_5m_tokens, input_cache_write_1h_tokens,
      input_audio_tokens, input_image_tokens,
      output_text_tokens, output_reasoning_tokens, output_audio_tokens, output_image_tokens,
      tool_calls, searches, provider_usage
    from ended
    where status <> 'released'
  ),
  new_ledger_entries as (
    -- A call that cost nothing has a spend event and no entry: an amount is above zero.
    insert into ledger_entries (
      organization_id, id, occurred_at, kind, debit_account_id, credit_account_id,
      amount_nano_usd, request_id, reservation_id, spend_event_id, api_key_id, actor_id
    )
    select
      organization_id, ledger_entry_id, occurred_at,
      case when status = 'expired' then 'recovery' else 'settlement' end,
      debit_account_id, credit_account_id,
      cost_nano_usd, request_id, id, spend_event_id, api_key_id, actor_id
    from ended
    where cost_nano_usd > 0
  ),
  new_usage_daily as (
    insert into usage_daily as d (
      organization_id, usage_on, team_id, project_id, api_key_id, provider, model, usage_source,
      calls, input_tokens, output_tokens, cost_nano_usd
    )
    select
      organization_id, (occurred_at at time zone 'UTC')::date, coalesce(team_id, ''),
      coalesce(project_id, ''), api_key_id, provider, model, usage_source,
      count(*),
      sum(
        input_uncached_tokens + input_cache_read_tokens + input_cache_write_5m_tokens
          + input_cache_write_1h_tokens + input_audio_tokens + input_image_tokens
      )::bigint,
      sum(
        output_text_tokens + output_reasoning_tokens + output_audio_tokens + output_image_tokens
      )::bigint,
      sum(cost_nano_usd)::bigint
    from ended
    where status <> 'released'
    group by 1, 2, 3, 4, 5, 6, 7, 8
    -- One order over all nodes, as for the windows.
    order by 1, 2, 3, 4, 5, 6, 7, 8
    on conflict on constraint usage_daily_pkey do update
    set
      calls = d.calls + excluded.calls,
      input_tokens = d.input_tokens + excluded.input_tokens,
      output_tokens = d.output_tokens + excluded.output_tokens,
      cost_nano_usd = d.cost_nano_usd + excluded.cost_nano_usd
  ),
  new_outbox as (
    insert into outbox (organization_id, topic, payload, created_at)
    select
      organization_id, 'reservation.' || status,
      jsonb_build_object(
        'reservationId', id,
        'requestId', request_id,
        'spendEventId', spend_event_id,
        'ledgerEntryId', case when cost_nano_usd > 0 then ledger_entry_id end,
        'costNanoUsd', cost_nano_usd::text
      ),
      closed_at
    from ended
    where status <> 'released'
  ),
  freed as (
    select
      e.organization_id, w.window_id,
      sum(e.amount_nano_usd)::bigint as held_nano_usd,
      sum(e.cost_nano_usd)::bigint as settled_nano_usd
    from ended e
    cross join lateral unnest(e.window_ids) as w(window_id)
    group by e.organization_id, w.window_id
  ),
  changed_windows as (
    update budget_windows b
    set
      held_nano_usd = b.held_nano_usd - f.held_nano_usd,
      settled_nano_usd = b.settled_nano_usd + f.settled_nano_usd
    from freed f
    where b.organization_id = f.organization_id and b.id = f.window_id
  ),
  freed_rates as (
    select
      e.organization_id, w.window_id,
      sum(w.units)::bigint as units,
      sum(
        e.input_uncached_tokens + e.input_cache_read_tokens + e.input_cache_write_5m_tokens
          + e.input_cache_write_1h_tokens + e.input_audio_tokens + e.input_image_tokens
          + e.output_text_tokens + e.output_reasoning_tokens + e.output_audio_tokens
          + e.output_image_tokens
      )::bigint as tokens
    from ended e
    cross join lateral unnest(e.rate_window_ids, e.rate_units) as w(window_id, units)
    group by e.organization_id, w.window_id
  ),
  changed_rates as (
    update rate_windows b
    set
      held_units = b.held_units - f.units,
      -- A request stays counted whatever became of it; a call that ended runs no more.
      used_units = b.used_units
        + case b.unit when 'requests' then f.units when 'tokens' then f.tokens else 0 end
    from freed_rates f
    where b.organization_id = f.organization_id and b.id = f.window_id
  )
  select array_agg(id) into ended_ids from ended;

  return coalesce(ended_ids, '{}');
end
$$;
