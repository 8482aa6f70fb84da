-- The money functions behind the group-commit writer, second part.

-- Ends held reservations and books what they cost. A second closing of the same
-- reservation finds it ended and changes nothing. Answers the ids that were ended here, in no
-- order. Counts that are not given are 0.
create function close_reservations(closings json, closed_at timestamptz) returns text[]
language plpgsql
as $$
#variable_conflict use_column
declare
  -- Where each closing's reservation is, beside the closings; null when it ended before.
  places tid[];
  ended_ids text[];
  -- Sums of what was freed, by window.
  window_organization_ids text[];
  window_ids text[];
  freed_nano_usd bigint[];
  spent_nano_usd bigint[];
  rate_organization_ids text[];
  rate_ids text[];
  freed_units bigint[];
  spent_tokens bigint[];
begin
  select array_agg(r.place order by c.ordinal)
  into places
  from rows from (
    json_to_recordset(closings) as (organization_id text, reservation_id text)
  ) with ordinality as c(organization_id, reservation_id, ordinal)
  left join lateral (
    select h.ctid as place
    from reservations h
    where h.organization_id = c.organization_id and h.id = c.reservation_id and h.ended_at is null
    for no key update
  ) r on true;

  with ended as (
    update reservations r
    set
      status = c.status,
      cost_nano_usd = c.cost_nano_usd,
      ended_at = closed_at,
      settled_at = case when c.status = 'settled' then closed_at end
    from rows from (
      json_to_recordset(closings) as (
        reservation_id text, status text, occurred_at timestamptz,
        spend_event_id text, ledger_entry_id text, debit_account_id text, credit_account_id text,
        usage_source text, price_version text, cost_nano_usd bigint,
        input_uncached_tokens bigint, input_cache_read_tokens bigint,
        input_cache_write_5m_tokens bigint, input_cache_write_1h_tokens bigint,
        input_audio_tokens bigint, input_image_tokens bigint,
        output_text_tokens bigint, output_reasoning_tokens bigint,
        output_audio_tokens bigint, output_image_tokens bigint,
        tool_calls bigint, searches bigint, provider_usage jsonb
      ),
      unnest(places)
    ) as c(
      reservation_id, status, occurred_at,
      spend_event_id, ledger_entry_id, debit_account_id, credit_account_id,
      usage_source, price_version, cost_nano_usd,
      input_uncached_tokens, input_cache_read_tokens,
      input_cache_write_5m_tokens, input_cache_write_1h_tokens,
      input_audio_tokens, input_image_tokens,
      output_text_tokens, output_reasoning_tokens,
      output_audio_tokens, output_image_tokens,
      tool_calls, searches, provider_usage, place
    )
    where r.ctid = c.place
      -- True for every closing. The planner takes it for one row in 200, and a row by its place
      -- then costs less than any scan.
      and c.reservation_id like 'rsv\_%'
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
  )
  select e.ids, f.*, g.*
  into
    ended_ids, window_organization_ids, window_ids, freed_nano_usd, spent_nano_usd,
    rate_organization_ids, rate_ids, freed_units, spent_tokens
  from (select array_agg(id) as ids from ended) e
  cross join (
    select
      array_agg(organization_id) as organization_ids, array_agg(window_id) as ids,
      array_agg(held_nano_usd) as held, array_agg(settled_nano_usd) as settled
    from freed
  ) f
  cross join (
    select
      array_agg(organization_id) as organization_ids, array_agg(window_id) as ids,
      array_agg(units) as units, array_agg(tokens) as tokens
    from freed_rates
  ) g;

  -- A few windows for many calls, and each is locked already.
  for n in 1..coalesce(cardinality(window_ids), 0) loop
    update budget_windows
    set
      held_nano_usd = held_nano_usd - freed_nano_usd[n],
      settled_nano_usd = settled_nano_usd + spent_nano_usd[n]
    where organization_id = window_organization_ids[n] and id = window_ids[n];
  end loop;

  for n in 1..coalesce(cardinality(rate_ids), 0) loop
    update rate_windows
    set
      held_units = held_units - freed_units[n],
      -- A request stays counted whatever became of it; a call that ended runs no more.
      used_units = used_units
        + case unit
          when 'requests' then freed_units[n]
          when 'tokens' then spent_tokens[n]
          else 0
        end
    where organization_id = rate_organization_ids[n] and id = rate_ids[n];
  end loop;

  return coalesce(ended_ids, '{}');
end
$$;
