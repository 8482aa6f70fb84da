-- People who sign in. A user may belong to several organizations, with one active role in each.
-- Sessions are stored as the hash of their token: a copy of this table opens nothing.

create table users (
  id text not null,
  email text not null,
  name text not null,
  -- argon2id, in its own encoded form; empty for people who only sign in elsewhere.
  password_hash text,
  created_at timestamptz not null,
  disabled_at timestamptz,
  constraint users_pkey primary key (id),
  constraint users_id_kind check (id like 'usr\_%'),
  constraint users_email_lower check (email = lower(email) and length(email) between 3 and 320),
  constraint users_email_unique unique (email)
);

create table memberships (
  organization_id text not null,
  id text not null,
  user_id text not null,
  employee_id text,
  created_at timestamptz not null,
  ended_at timestamptz,
  constraint memberships_pkey primary key (organization_id, id),
  constraint memberships_organization_fkey foreign key (organization_id)
    references organizations (id),
  constraint memberships_user_fkey foreign key (user_id) references users (id),
  constraint memberships_employee_fkey foreign key (organization_id, employee_id)
    references employees (organization_id, id),
  constraint memberships_user_unique unique (organization_id, user_id),
  constraint memberships_id_kind check (id like 'mem\_%')
);

create table role_assignments (
  organization_id text not null,
  id text not null,
  membership_id text not null,
  role text not null,
  granted_by_user_id text,
  granted_at timestamptz not null,
  revoked_at timestamptz,
  constraint role_assignments_pkey primary key (organization_id, id),
  constraint role_assignments_membership_fkey foreign key (organization_id, membership_id)
    references memberships (organization_id, id),
  constraint role_assignments_role check (
    role in (
      'org_admin', 'iam_admin', 'platform_admin', 'finance_manager',
      'manager', 'employee', 'auditor'
    )
  ),
  constraint role_assignments_id_kind check (id like 'rol\_%')
);

create unique index role_assignments_one_active
  on role_assignments (organization_id, membership_id)
  where revoked_at is null;

create table sessions (
  -- SHA-256 of the token in the cookie.
  token_hash bytea not null,
  user_id text not null,
  organization_id text not null,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  revoked_at timestamptz,
  constraint sessions_pkey primary key (token_hash),
  constraint sessions_user_fkey foreign key (user_id) references users (id),
  constraint sessions_organization_fkey foreign key (organization_id) references organizations (id),
  constraint sessions_token_hash_length check (length(token_hash) = 32)
);

create index sessions_user on sessions (user_id);
