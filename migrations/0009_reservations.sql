-- The life of one paid call. A reservation is held, then settled, released or expired: one terminal
-- state, set by compare-and-set. What it really cost is a spend event; what an operator asks about
-- the request (also a refused one) is a gateway request. Neither prompt nor completion is stored.

create table reservations (
  organization_id text not null,
  id text not null,
  request_id text not null,
  api_key_id text not null,
  actor_id text not null,
  team_id text,
  project_id text,
  provider text not null,
  model text not null,
  route text not null,
  -- The most the call can cost; held in every window below until the reservation ends.
  amount_nano_usd bigint not null,
  window_ids text[] not null,
  -- The bound that the amount was computed from, for booking an estimate if nobody ever settles.
  prompt_tokens_max bigint not null,
  completion_tokens_max bigint not null,
  price_version text not null,
  status text not null default 'held',
  node_id text not null,
  reserved_at timestamptz not null,
  deadline_at timestamptz not null,
  settled_at timestamptz,
  ended_at timestamptz,
  cost_nano_usd bigint,
  -- SHA-256 of the caller's Idempotency-Key, and of the body that came with it.
  idempotency_hash bytea,
  body_hash bytea,
  -- When the true cost replaced the bound that the sweeper had booked.
  corrected_at timestamptz,
  constraint reservations_pkey primary key (organization_id, id),
  constraint reservations_api_key_fkey foreign key (organization_id, api_key_id)
    references api_keys (organization_id, id),
  constraint reservations_status check (status in ('held', 'settled', 'released', 'expired')),
  constraint reservations_amount_not_negative check (amount_nano_usd >= 0),
  constraint reservations_cost_not_negative check (cost_nano_usd >= 0),
  constraint reservations_has_window check (cardinality(window_ids) > 0),
  constraint reservations_ended_unless_held check ((status = 'held') = (ended_at is null)),
  constraint reservations_settled_at check ((status = 'settled') = (settled_at is not null)),
  constraint reservations_corrected_when_expired check (
    corrected_at is null or status = 'expired'
  ),
  constraint reservations_cost_when_booked check (
    (status in ('settled', 'expired')) = (cost_nano_usd is not null)
  ),
  constraint reservations_idempotency_has_body check (
    (idempotency_hash is null) = (body_hash is null)
  ),
  constraint reservations_id_kind check (id like 'rsv\_%')
);

create index reservations_held on reservations (deadline_at) where status = 'held';
-- One call a key; a call that bought nothing may be tried again.
create unique index reservations_idempotency
  on reservations (organization_id, api_key_id, idempotency_hash)
  where idempotency_hash is not null and status <> 'released';
create index reservations_held_by_node on reservations (node_id) where status = 'held';
create index reservations_newest on reservations (organization_id, reserved_at desc, id desc);

create table spend_events (
  organization_id text not null,
  id text not null,
  occurred_at timestamptz not null,
  reservation_id text not null,
  request_id text not null,
  api_key_id text not null,
  provider text not null,
  model text not null,
  usage_source text not null,
  price_version text not null,
  cost_nano_usd bigint not null,
  is_overage boolean not null,
  -- The recovered event whose place this one takes; sums leave that one out.
  supersedes_event_id text,
  -- Disjoint buckets: no token is in two of them.
  input_uncached_tokens bigint not null default 0,
  input_cache_read_tokens bigint not null default 0,
  input_cache_write_5m_tokens bigint not null default 0,
  input_cache_write_1h_tokens bigint not null default 0,
  input_audio_tokens bigint not null default 0,
  input_image_tokens bigint not null default 0,
  output_text_tokens bigint not null default 0,
  output_reasoning_tokens bigint not null default 0,
  output_audio_tokens bigint not null default 0,
  output_image_tokens bigint not null default 0,
  tool_calls bigint not null default 0,
  searches bigint not null default 0,
  -- The provider's own usage object, as it came.
  provider_usage jsonb,
  constraint spend_events_pkey primary key (organization_id, id, occurred_at),
  constraint spend_events_usage_source check (
    usage_source in ('provider', 'estimated', 'recovered')
  ),
  constraint spend_events_cost_not_negative check (cost_nano_usd >= 0),
  constraint spend_events_id_kind check (id like 'spe\_%')
) partition by range (occurred_at);

create index spend_events_reservation on spend_events (organization_id, reservation_id);

create table gateway_requests (
  organization_id text not null,
  id text not null,
  received_at timestamptz not null,
  route text not null,
  api_key_id text not null,
  actor_id text,
  provider text,
  model text,
  is_streaming boolean not null,
  -- `granted`, or the code of the refusal.
  policy_result text not null,
  status integer not null,
  error_code text,
  reservation_id text,
  duration_ms integer not null,
  constraint gateway_requests_pkey primary key (organization_id, id, received_at),
  constraint gateway_requests_status check (status between 100 and 599),
  constraint gateway_requests_granted_has_reservation check (
    (policy_result = 'granted') = (reservation_id is not null)
  ),
  constraint gateway_requests_id_kind check (id like 'req\_%')
) partition by range (received_at);

create index gateway_requests_newest
  on gateway_requests (organization_id, received_at desc, id desc);

-- Sums for pages and reports, kept in the settling transaction.
create table usage_daily (
  organization_id text not null,
  usage_on date not null,
  -- Empty where the actor has none.
  team_id text not null,
  project_id text not null,
  api_key_id text not null,
  provider text not null,
  model text not null,
  usage_source text not null,
  calls bigint not null,
  input_tokens bigint not null,
  output_tokens bigint not null,
  cost_nano_usd bigint not null,
  constraint usage_daily_pkey primary key (
    organization_id, usage_on, team_id, project_id, api_key_id, provider, model, usage_source
  )
)
with (fillfactor = 70);

create table outbox (
  organization_id text not null,
  id bigint not null generated always as identity,
  topic text not null,
  payload jsonb not null,
  created_at timestamptz not null,
  handled_at timestamptz,
  constraint outbox_pkey primary key (organization_id, id)
);

create index outbox_waiting on outbox (id) where handled_at is null;
