-- Any change to what decides a request grows the organization's governance epoch in the same
-- transaction and tells every node. The reserve statement compares epochs, so a node that has not
-- heard of the change yet cannot spend under the old rules.

create function organizations_grow_epoch() returns trigger
language plpgsql as $$
declare
  changed_organization_id text := coalesce(new.organization_id, old.organization_id);
begin
  update organizations
  set governance_epoch = governance_epoch + 1
  where id = changed_organization_id;
  perform pg_notify('spendra_authority', changed_organization_id);
  return null;
end
$$;

create trigger branches_epoch after insert or update or delete on branches
  for each row execute function organizations_grow_epoch();
create trigger teams_epoch after insert or update or delete on teams
  for each row execute function organizations_grow_epoch();
create trigger projects_epoch after insert or update or delete on projects
  for each row execute function organizations_grow_epoch();
create trigger employees_epoch after update or delete on employees
  for each row execute function organizations_grow_epoch();
create trigger agents_epoch after update or delete on agents
  for each row execute function organizations_grow_epoch();
create trigger provider_accounts_epoch after insert or update or delete on provider_accounts
  for each row execute function organizations_grow_epoch();
create trigger budgets_epoch after insert or update or delete on budgets
  for each row execute function organizations_grow_epoch();
create trigger policies_epoch after insert or update or delete on policies
  for each row execute function organizations_grow_epoch();

-- A changed amount holds at once, in the windows that are open as well.
create function budgets_change_open_windows() returns trigger
language plpgsql as $$
begin
  update budget_windows
  set limit_nano_usd = new.amount_nano_usd
  where organization_id = new.organization_id
    and budget_id = new.id
    and (window_end is null or window_end > now());
  return null;
end
$$;

create trigger budgets_amount after update of amount_nano_usd on budgets
  for each row when (old.amount_nano_usd is distinct from new.amount_nano_usd)
  execute function budgets_change_open_windows();
