-- The organization's accounts at the companies that sell models. The secret itself is never here:
-- only the name of the setting or credential that holds it.

create table provider_accounts (
  organization_id text not null,
  id text not null,
  provider text not null,
  name text not null,
  base_url text not null,
  secret_name text not null,
  created_at timestamptz not null,
  archived_at timestamptz,
  constraint provider_accounts_pkey primary key (organization_id, id),
  constraint provider_accounts_organization_fkey foreign key (organization_id)
    references organizations (id),
  constraint provider_accounts_provider_form check (provider ~ '^[a-z][a-z0-9-]{0,39}$'),
  constraint provider_accounts_base_url_form check (base_url ~ '^https?://'),
  constraint provider_accounts_secret_name_form check (secret_name ~ '^[A-Z][A-Z0-9_]{0,99}$'),
  constraint provider_accounts_id_kind check (id like 'pac\_%')
);

-- One account a provider until calls can be spread over several.
create unique index provider_accounts_one_active
  on provider_accounts (organization_id, provider)
  where archived_at is null;
