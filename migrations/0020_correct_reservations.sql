-- The money functions behind the group-commit writer, third part.

-- The truth that comes after the sweeper booked the bound (its node was away with the record on its
-- disk) replaces the bound: the recovery is reversed by an entry that names it, what was really
-- spent is booked as any other, and the reservation stays expired. Answers the ids of what was
-- corrected here. Rare, so that it may cost more than a closing, and be planned each time.
create function correct_reservations(closings json, closed_at timestamptz) returns text[]
language plpgsql
set plan_cache_mode = force_custom_plan
as $$
declare
  corrected_ids text[];
begin
  with corrected as (
    update reservations r
    set
      cost_nano_usd = coalesce(c.cost_nano_usd, 0),
      corrected_at = closed_at
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
    join spend_events s
      on s.organization_id = c.organization_id
      and s.reservation_id = c.reservation_id
      and s.usage_source = 'recovered'
    where r.organization_id = c.organization_id
      and r.id = c.reservation_id
      and r.status = 'expired'
      and r.corrected_at is null
      and c.status in ('settled', 'released')
    returning
      r.organization_id, r.id, r.request_id, r.api_key_id, r.actor_id, r.team_id, r.project_id,
      r.provider, r.model, r.amount_nano_usd, r.window_ids,
      s.id as recovered_event_id, s.cost_nano_usd as recovered_nano_usd,
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
  booked as (
    select * from corrected where status <> 'released'
  ),
  new_spend_events as (
    insert into spend_events (
      organization_id, id, occurred_at, reservation_id, request_id, api_key_id, provider, model,
      usage_source, price_version, cost_nano_usd, is_overage, supersedes_event_id,
      input_uncached_tokens, input_cache_read_tokens,
      input_cache_write_5m_tokens, input_cache_write_1h_tokens,
      input_audio_tokens, input_image_tokens,
      output_text_tokens, output_reasoning_tokens, output_audio_tokens, output_image_tokens,
      tool_calls, searches, provider_usage
    )
    select
      organization_id, spend_event_id, occurred_at, id, request_id, api_key_id, provider, model,
      usage_source, price_version, cost_nano_usd, cost_nano_usd > amount_nano_usd,
      recovered_event_id,
      input_uncached_tokens, input_cache_read_tokens,
      input_cache_write_5m_tokens, input_cache_write_1h_tokens,
      input_audio_tokens, input_image_tokens,
      output_text_tokens, output_reasoning_tokens, output_audio_tokens, output_image_tokens,
      tool_calls, searches, provider_usage
    from booked
  ),
  new_ledger_entries as (
    insert into ledger_entries (
      organization_id, id, occurred_at, kind, debit_account_id, credit_account_id,
      amount_nano_usd, request_id, reservation_id, spend_event_id, api_key_id, actor_id
    )
    select
      organization_id, ledger_entry_id, occurred_at, 'settlement', debit_account_id,
      credit_account_id, cost_nano_usd, request_id, id, spend_event_id, api_key_id, actor_id
    from booked
    where cost_nano_usd > 0
  ),
  reversals as (
    insert into ledger_entries (
      organization_id, id, occurred_at, kind, debit_account_id, credit_account_id,
      amount_nano_usd, request_id, reservation_id, spend_event_id, api_key_id, actor_id,
      reverses_entry_id
    )
    select
      e.organization_id, e.id || '_reversal', closed_at, 'reversal',
      e.credit_account_id, e.debit_account_id,
      e.amount_nano_usd, e.request_id, e.reservation_id, e.spend_event_id, e.api_key_id,
      e.actor_id, e.id
    from corrected r
    join ledger_entries e
      on e.organization_id = r.organization_id
      and e.reservation_id = r.id
      and e.kind = 'recovery'
  ),
  usage_changes as (
    select
      organization_id, (occurred_at at time zone 'UTC')::date as usage_on, team_id, project_id,
      api_key_id, provider, model, usage_source, 1 as calls,
      input_uncached_tokens + input_cache_read_tokens + input_cache_write_5m_tokens
        + input_cache_write_1h_tokens + input_audio_tokens + input_image_tokens as input_tokens,
      output_text_tokens + output_reasoning_tokens + output_audio_tokens + output_image_tokens
        as output_tokens,
      cost_nano_usd
    from booked
    union all
    -- A recovered event has its tokens in these two buckets only.
    select
      s.organization_id, (s.occurred_at at time zone 'UTC')::date, r.team_id, r.project_id,
      s.api_key_id, s.provider, s.model, s.usage_source, -1,
      -s.input_uncached_tokens, -s.output_text_tokens, -s.cost_nano_usd
    from corrected r
    join spend_events s
      on s.organization_id = r.organization_id
      and s.reservation_id = r.id
      and s.id = r.recovered_event_id
  ),
  new_usage_daily as (
    insert into usage_daily as d (
      organization_id, usage_on, team_id, project_id, api_key_id, provider, model, usage_source,
      calls, input_tokens, output_tokens, cost_nano_usd
    )
    select
      organization_id, usage_on, coalesce(team_id, ''), coalesce(project_id, ''), api_key_id,
      provider, model, usage_source,
      sum(calls)::bigint, sum(input_tokens)::bigint, sum(output_tokens)::bigint,
      sum(cost_nano_usd)::bigint
    from usage_changes
    group by 1, 2, 3, 4, 5, 6, 7, 8
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
      organization_id, 'reservation.corrected',
      jsonb_build_object(
        'reservationId', id,
        'requestId', request_id,
        'spendEventId', spend_event_id,
        'ledgerEntryId', case when cost_nano_usd > 0 then ledger_entry_id end,
        'costNanoUsd', cost_nano_usd::text
      ),
      closed_at
    from booked
  ),
  differing as (
    select
      r.organization_id, w.window_id,
      sum(r.cost_nano_usd - r.recovered_nano_usd)::bigint as settled_nano_usd
    from corrected r
    cross join lateral unnest(r.window_ids) as w(window_id)
    group by r.organization_id, w.window_id
  ),
  changed_windows as (
    update budget_windows b
    set settled_nano_usd = b.settled_nano_usd + d.settled_nano_usd
    from differing d
    where b.organization_id = d.organization_id and b.id = d.window_id
  )
  select array_agg(id) into corrected_ids from corrected;

  return coalesce(corrected_ids, '{}');
end
$$;
