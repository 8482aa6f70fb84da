-- The version of what people change: it grows by one with each change, and a change names the one
-- that it was made from, so that nobody overwrites what they have not seen. Budgets and policies
-- have the column since 0006; of an API key the epoch is the version. The columns are constants at
-- first, so that no table is rewritten.

alter table organizations add column version integer not null default 1;
alter table branches add column version integer not null default 1;
alter table teams add column version integer not null default 1;
alter table projects add column version integer not null default 1;
alter table employees add column version integer not null default 1;
alter table agents add column version integer not null default 1;

create function grow_version() returns trigger
language plpgsql as $$
begin
  new.version := old.version + 1;
  return new;
end
$$;

create trigger branches_version before update on branches
  for each row execute function grow_version();
create trigger teams_version before update on teams
  for each row execute function grow_version();
create trigger projects_version before update on projects
  for each row execute function grow_version();
create trigger employees_version before update on employees
  for each row execute function grow_version();
create trigger agents_version before update on agents
  for each row execute function grow_version();
create trigger budgets_version before update on budgets
  for each row execute function grow_version();
create trigger policies_version before update on policies
  for each row execute function grow_version();

-- An organization's row is also updated by every change inside it, which grows the epoch only.
create trigger organizations_version
  before update of name, completion_tokens_default, archived_at on organizations
  for each row execute function grow_version();

-- What of an organization itself decides a request grows its epoch as well.
create function organizations_grow_own_epoch() returns trigger
language plpgsql as $$
begin
  new.governance_epoch := old.governance_epoch + 1;
  perform pg_notify('spendra_authority', new.id);
  return new;
end
$$;

create trigger organizations_epoch
  before update of completion_tokens_default, archived_at on organizations
  for each row when (
    old.completion_tokens_default is distinct from new.completion_tokens_default
    or old.archived_at is distinct from new.archived_at
  )
  execute function organizations_grow_own_epoch();
