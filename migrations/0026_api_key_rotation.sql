-- A key gets a new secret and keeps its id, so that its budgets, its ledger and its history stay
-- where they are. The secret before it opens the key as well until the overlap ends. What a key is
-- used for is remembered beside it: written here, it would grow the key's epoch with each use.

alter table api_keys
  -- HMAC-SHA-256, as `secret_hmac`; it opens nothing from `previous_secret_ends_at` on.
  add column previous_secret_hmac bytea,
  add column previous_secret_ends_at timestamptz,
  add column rotated_at timestamptz,
  -- Whether the revocation ends the key's running streams.
  add column revocation_cuts_running boolean not null default false,
  add constraint api_keys_previous_secret check (
    (previous_secret_hmac is null) = (previous_secret_ends_at is null)
    and length(previous_secret_hmac) = 32 is not false
  ),
  add constraint api_keys_only_revocation_cuts check (
    revoked_at is not null or not revocation_cuts_running
  );

create index api_keys_revocation_cuts on api_keys (organization_id, revoked_at)
  where revocation_cuts_running;

create table api_key_uses (
  organization_id text not null,
  api_key_id text not null,
  last_used_at timestamptz not null,
  constraint api_key_uses_pkey primary key (organization_id, api_key_id),
  constraint api_key_uses_api_key_fkey foreign key (organization_id, api_key_id)
    references api_keys (organization_id, id)
)
with (fillfactor = 80);

-- The keys of those whom somebody sees.
create index api_keys_employee on api_keys (organization_id, employee_id, id);

-- What a key has spent so far.
create index usage_daily_api_key on usage_daily (organization_id, api_key_id);
