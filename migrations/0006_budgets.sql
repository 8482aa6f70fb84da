-- How much may be spent, where and in which period (budgets), what happens at the limit (policies),
-- and the counters of each period (budget_windows). A new period is a new row: nothing is reset.

create table budgets (
  organization_id text not null,
  id text not null,
  name text not null,
  scope_kind text not null,
  -- The organization, branch, team, ... itself; the key for a budget that is bound to one key.
  scope_id text not null,
  -- Empty selectors select everything.
  provider text,
  model text,
  tool text,
  environment text,
  amount_nano_usd bigint not null,
  period text not null,
  time_zone text not null default 'UTC',
  -- Fixed ranges only.
  starts_at timestamptz,
  ends_at timestamptz,
  version integer not null default 1,
  created_at timestamptz not null,
  archived_at timestamptz,
  constraint budgets_pkey primary key (organization_id, id),
  constraint budgets_organization_fkey foreign key (organization_id) references organizations (id),
  constraint budgets_scope_kind check (
    scope_kind in (
      'organization', 'branch', 'team', 'project', 'employee', 'agent', 'subagent', 'api_key'
    )
  ),
  constraint budgets_amount_not_negative check (amount_nano_usd >= 0),
  constraint budgets_period check (
    period in ('hour', 'day', 'week', 'month', 'quarter', 'year', 'fixed', 'lifetime')
  ),
  constraint budgets_fixed_range check (
    (period = 'fixed') = (starts_at is not null and ends_at is not null)
    and (starts_at is null) = (ends_at is null)
    and starts_at < ends_at is not false
  ),
  constraint budgets_environment check (environment in ('production', 'staging', 'development')),
  constraint budgets_name_length check (length(name) between 1 and 200),
  constraint budgets_id_kind check (id like 'bud\_%')
);

create index budgets_scope on budgets (organization_id, scope_kind, scope_id)
  where archived_at is null;

create table policies (
  organization_id text not null,
  id text not null,
  name text not null,
  kind text not null,
  -- A cap takes its scope from its budget; every other kind names its own.
  budget_id text,
  scope_kind text,
  scope_id text,
  -- What the kind needs: {"requestMaxUsd": "0.50"} for per_request_limit,
  -- {"providers": [...], "models": [...], "tools": [...]} for allowlist.
  settings jsonb not null default '{}',
  version integer not null default 1,
  created_at timestamptz not null,
  archived_at timestamptz,
  constraint policies_pkey primary key (organization_id, id),
  constraint policies_organization_fkey foreign key (organization_id) references organizations (id),
  constraint policies_budget_fkey foreign key (organization_id, budget_id)
    references budgets (organization_id, id),
  constraint policies_kind check (
    kind in ('hard_cap', 'soft_cap', 'rate_limit', 'allowlist', 'per_request_limit', 'review')
  ),
  constraint policies_cap_has_budget check (
    (kind in ('hard_cap', 'soft_cap')) = (budget_id is not null)
  ),
  constraint policies_one_scope check (
    (budget_id is null) = (scope_kind is not null)
    and (scope_kind is null) = (scope_id is null)
  ),
  constraint policies_scope_kind check (
    scope_kind in (
      'organization', 'branch', 'team', 'project', 'employee', 'agent', 'subagent', 'api_key'
    )
  ),
  constraint policies_name_length check (length(name) between 1 and 200),
  constraint policies_id_kind check (id like 'pol\_%')
);

create index policies_budget on policies (organization_id, budget_id) where archived_at is null;
create index policies_scope on policies (organization_id, scope_kind, scope_id)
  where archived_at is null;

create table budget_windows (
  organization_id text not null,
  -- Made of budget and start, so that every node names the same window without asking.
  id text not null,
  budget_id text not null,
  window_start timestamptz not null,
  -- Empty for a lifetime.
  window_end timestamptz,
  limit_nano_usd bigint not null,
  held_nano_usd bigint not null default 0,
  settled_nano_usd bigint not null default 0,
  constraint budget_windows_pkey primary key (organization_id, id),
  constraint budget_windows_budget_fkey foreign key (organization_id, budget_id)
    references budgets (organization_id, id),
  constraint budget_windows_start_unique unique (organization_id, budget_id, window_start),
  constraint budget_windows_order check (window_start < window_end),
  constraint budget_windows_limit_not_negative check (limit_nano_usd >= 0),
  constraint budget_windows_held_not_negative check (held_nano_usd >= 0),
  constraint budget_windows_settled_not_negative check (settled_nano_usd >= 0)
)
-- Room in each page, because these few rows are updated by every batch (heap-only updates).
with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 1000);
