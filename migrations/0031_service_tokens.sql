-- Service tokens: what automation presents to the management API. Bound to one role, expiring, and
-- stored as the HMAC of their secret. What one changes is written down with the token's id and with
-- the person who made the token and answers for it.

create table service_tokens (
  organization_id text not null,
  id text not null,
  name text not null,
  role text not null,
  -- HMAC-SHA-256 of the token's secret, under a key derived from the encryption key.
  secret_hmac bytea not null,
  created_by_user_id text not null,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  revoked_at timestamptz,
  version integer not null default 1,
  constraint service_tokens_pkey primary key (organization_id, id),
  constraint service_tokens_organization_fkey foreign key (organization_id)
    references organizations (id),
  constraint service_tokens_created_by_fkey foreign key (created_by_user_id)
    references users (id),
  constraint service_tokens_id_kind check (id like 'svt\_%'),
  constraint service_tokens_id_unique unique (id),
  constraint service_tokens_name_length check (length(name) between 1 and 200),
  -- A manager and an employee are people: what they see hangs on who they are.
  constraint service_tokens_role check (
    role in ('org_admin', 'iam_admin', 'platform_admin', 'finance_manager', 'auditor')
  ),
  constraint service_tokens_secret_hmac_length check (length(secret_hmac) = 32),
  constraint service_tokens_expires_later check (expires_at > created_at)
);

create trigger service_tokens_version before update on service_tokens
  for each row execute function grow_version();

alter table audit_log add column service_token_id text;
