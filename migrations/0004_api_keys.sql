-- What an application presents. The secret is shown once and stored only as an HMAC. A key acts for
-- exactly one employee or agent, and its epoch grows with each change, so that the reserve
-- statement refuses a key that was changed after a node cached it.

create table api_keys (
  organization_id text not null,
  id text not null,
  name text not null,
  employee_id text,
  agent_id text,
  project_id text,
  environment text not null,
  -- Which prefix the token has: `spk_live_`, or `spk_test_` in the demo.
  token_kind text not null default 'live',
  -- HMAC-SHA-256 of the secret under a key derived from SPENDRA_ENCRYPTION_KEY.
  secret_hmac bytea not null,
  -- Empty: every provider that the models name.
  allowed_providers text[] not null default '{}',
  -- `gpt-4o` (OpenAI), `anthropic/claude-sonnet-4-5`, `*` (all of OpenAI), `anthropic/*`.
  allowed_models text[] not null,
  allowed_tools text[] not null default '{}',
  reservation_max_nano_usd bigint,
  is_active boolean not null default true,
  epoch bigint not null default 1,
  created_at timestamptz not null,
  created_by_user_id text,
  expires_at timestamptz,
  revoked_at timestamptz,
  constraint api_keys_pkey primary key (organization_id, id),
  constraint api_keys_id_unique unique (id),
  constraint api_keys_organization_fkey foreign key (organization_id) references organizations (id),
  constraint api_keys_employee_fkey foreign key (organization_id, employee_id)
    references employees (organization_id, id),
  constraint api_keys_agent_fkey foreign key (organization_id, agent_id)
    references agents (organization_id, id),
  constraint api_keys_project_fkey foreign key (organization_id, project_id)
    references projects (organization_id, id),
  constraint api_keys_created_by_fkey foreign key (created_by_user_id) references users (id),
  constraint api_keys_one_actor check (num_nonnulls(employee_id, agent_id) = 1),
  constraint api_keys_environment check (environment in ('production', 'staging', 'development')),
  constraint api_keys_token_kind check (token_kind in ('live', 'test')),
  constraint api_keys_secret_hmac_length check (length(secret_hmac) = 32),
  constraint api_keys_reservation_max_positive check (reservation_max_nano_usd > 0),
  constraint api_keys_name_length check (length(name) between 1 and 200),
  constraint api_keys_id_kind check (id like 'key\_%')
);

create function api_keys_grow_epoch() returns trigger
language plpgsql as $$
begin
  new.epoch := old.epoch + 1;
  perform pg_notify('spendra_authority', new.organization_id);
  return new;
end
$$;

create trigger api_keys_epoch
  before update on api_keys
  for each row execute function api_keys_grow_epoch();
