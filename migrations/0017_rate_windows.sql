-- Rate limits: the windows of budgets in other units (requests, tokens, calls at the same time),
-- decided in the same step as the money, so that they are exact over all nodes. Not money: old
-- windows are forgotten by a scheduled job.

create table rate_windows (
  organization_id text not null,
  -- Made of policy and start, so that every node names the same window without asking.
  id text not null,
  policy_id text not null,
  unit text not null,
  window_start timestamptz not null,
  -- Empty for calls at the same time: they have no period.
  window_end timestamptz,
  limit_units bigint not null,
  held_units bigint not null default 0,
  used_units bigint not null default 0,
  constraint rate_windows_pkey primary key (organization_id, id),
  constraint rate_windows_policy_fkey foreign key (organization_id, policy_id)
    references policies (organization_id, id),
  constraint rate_windows_unit check (unit in ('requests', 'tokens', 'concurrent_calls')),
  constraint rate_windows_order check (window_start < window_end),
  constraint rate_windows_limit_not_negative check (limit_units >= 0),
  constraint rate_windows_held_not_negative check (held_units >= 0),
  constraint rate_windows_used_not_negative check (used_units >= 0)
)
with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 1000);

create index rate_windows_over on rate_windows (window_end) where window_end is not null;

alter table reservations
  -- Held beside the money: as many units as the entry at the same place says.
  add column rate_window_ids text[],
  add column rate_units bigint[],
  add constraint reservations_rates_complete check (
    (rate_window_ids is null) = (rate_units is null)
  ),
  -- The statement that reserves has looked the key up, and keys are never deleted.
  drop constraint reservations_api_key_fkey;

-- Ids sort by time: the primary keys list the newest as well. What a node left behind is looked for
-- once, at its start, among what is held. Each of these cost every call an entry or two.
drop index reservations_newest;
drop index reservations_held_by_node;
drop index gateway_requests_newest;
