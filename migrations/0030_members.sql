-- Members come by invitation, may be suspended, and a manager sees the branches and teams that are
-- assigned. An invitation is stored as the HMAC of its secret: a copy of this table invites nobody.

alter table memberships
  add column suspended_at timestamptz,
  add column version integer not null default 1;

create trigger memberships_version before update on memberships
  for each row execute function grow_version();

-- Signing in looks for a person's memberships in all organizations.
create index memberships_user on memberships (user_id);

create table membership_areas (
  organization_id text not null,
  membership_id text not null,
  branch_id text,
  team_id text,
  constraint membership_areas_membership_fkey foreign key (organization_id, membership_id)
    references memberships (organization_id, id),
  constraint membership_areas_branch_fkey foreign key (organization_id, branch_id)
    references branches (organization_id, id),
  constraint membership_areas_team_fkey foreign key (organization_id, team_id)
    references teams (organization_id, id),
  constraint membership_areas_one_place check (num_nonnulls(branch_id, team_id) = 1),
  constraint membership_areas_unique
    unique nulls not distinct (organization_id, membership_id, branch_id, team_id)
);

create table invitations (
  organization_id text not null,
  id text not null,
  email text not null,
  role text not null,
  employee_id text,
  -- HMAC-SHA-256 of the token's secret, under a key derived from the encryption key.
  secret_hmac bytea not null,
  invited_by_user_id text not null,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  accepted_at timestamptz,
  revoked_at timestamptz,
  version integer not null default 1,
  constraint invitations_pkey primary key (organization_id, id),
  constraint invitations_organization_fkey foreign key (organization_id)
    references organizations (id),
  constraint invitations_employee_fkey foreign key (organization_id, employee_id)
    references employees (organization_id, id),
  constraint invitations_invited_by_fkey foreign key (invited_by_user_id) references users (id),
  constraint invitations_id_kind check (id like 'inv\_%'),
  constraint invitations_id_unique unique (id),
  constraint invitations_email_lower check (
    email = lower(email) and length(email) between 3 and 320
  ),
  constraint invitations_role check (
    role in (
      'org_admin', 'iam_admin', 'platform_admin', 'finance_manager',
      'manager', 'employee', 'auditor'
    )
  ),
  constraint invitations_secret_hmac_length check (length(secret_hmac) = 32),
  constraint invitations_expires_later check (expires_at > created_at),
  constraint invitations_one_end check (num_nonnulls(accepted_at, revoked_at) <= 1)
);

-- One open invitation a person: a new one takes the place of the old.
create unique index invitations_one_open
  on invitations (organization_id, email)
  where accepted_at is null and revoked_at is null;

create trigger invitations_version before update on invitations
  for each row execute function grow_version();
