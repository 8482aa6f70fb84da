-- The hierarchy that money is spent in: organization > branch > team > employee, projects beside
-- branch and team, agents owned by an employee, a team or a project, subagents owned by an agent.
-- Every key starts with organization_id, so that a reference into another organization cannot be
-- written at all, and so that a distributed PostgreSQL can shard by organization later.

create table organizations (
  id text not null,
  name text not null,
  -- Grows with each change of anything that decides a request (budget, policy, team, actor, ...).
  -- A reservation names the epoch it was resolved under; another epoch means: resolve again.
  governance_epoch bigint not null default 1,
  -- Written into a request that names no output limit itself.
  completion_tokens_default integer not null default 4096,
  created_at timestamptz not null,
  archived_at timestamptz,
  constraint organizations_pkey primary key (id),
  constraint organizations_id_kind check (id like 'org\_%'),
  constraint organizations_name_length check (length(name) between 1 and 200),
  constraint organizations_completion_tokens_positive check (completion_tokens_default > 0)
);

create table branches (
  organization_id text not null,
  id text not null,
  name text not null,
  created_at timestamptz not null,
  archived_at timestamptz,
  constraint branches_pkey primary key (organization_id, id),
  constraint branches_organization_fkey foreign key (organization_id) references organizations (id),
  constraint branches_id_kind check (id like 'brn\_%'),
  constraint branches_name_length check (length(name) between 1 and 200)
);

create table teams (
  organization_id text not null,
  id text not null,
  branch_id text,
  name text not null,
  created_at timestamptz not null,
  archived_at timestamptz,
  constraint teams_pkey primary key (organization_id, id),
  constraint teams_organization_fkey foreign key (organization_id) references organizations (id),
  constraint teams_branch_fkey foreign key (organization_id, branch_id)
    references branches (organization_id, id),
  constraint teams_id_kind check (id like 'tea\_%'),
  constraint teams_name_length check (length(name) between 1 and 200)
);

create table projects (
  organization_id text not null,
  id text not null,
  -- Both empty for a project that runs parallel to branch and team.
  branch_id text,
  team_id text,
  name text not null,
  created_at timestamptz not null,
  archived_at timestamptz,
  constraint projects_pkey primary key (organization_id, id),
  constraint projects_organization_fkey foreign key (organization_id) references organizations (id),
  constraint projects_branch_fkey foreign key (organization_id, branch_id)
    references branches (organization_id, id),
  constraint projects_team_fkey foreign key (organization_id, team_id)
    references teams (organization_id, id),
  constraint projects_id_kind check (id like 'prj\_%'),
  constraint projects_name_length check (length(name) between 1 and 200)
);

create table employees (
  organization_id text not null,
  id text not null,
  team_id text,
  name text not null,
  email text,
  created_at timestamptz not null,
  archived_at timestamptz,
  constraint employees_pkey primary key (organization_id, id),
  constraint employees_organization_fkey foreign key (organization_id)
    references organizations (id),
  constraint employees_team_fkey foreign key (organization_id, team_id)
    references teams (organization_id, id),
  constraint employees_id_kind check (id like 'emp\_%'),
  constraint employees_name_length check (length(name) between 1 and 200)
);

create table agents (
  organization_id text not null,
  id text not null,
  owner_employee_id text,
  owner_team_id text,
  owner_project_id text,
  -- Set for a subagent: an agent owned by an agent.
  parent_agent_id text,
  name text not null,
  created_at timestamptz not null,
  archived_at timestamptz,
  constraint agents_pkey primary key (organization_id, id),
  constraint agents_organization_fkey foreign key (organization_id) references organizations (id),
  constraint agents_owner_employee_fkey foreign key (organization_id, owner_employee_id)
    references employees (organization_id, id),
  constraint agents_owner_team_fkey foreign key (organization_id, owner_team_id)
    references teams (organization_id, id),
  constraint agents_owner_project_fkey foreign key (organization_id, owner_project_id)
    references projects (organization_id, id),
  constraint agents_parent_fkey foreign key (organization_id, parent_agent_id)
    references agents (organization_id, id),
  constraint agents_one_owner check (
    num_nonnulls(owner_employee_id, owner_team_id, owner_project_id, parent_agent_id) = 1
  ),
  constraint agents_not_own_parent check (parent_agent_id <> id),
  constraint agents_id_kind check (id like 'agt\_%'),
  constraint agents_name_length check (length(name) between 1 and 200)
);
