-- Limits that move. A budget may have a higher limit for a while: what it is raised by counts in
-- the windows that are open and in those that are opened until the end.
-- `budgets.increase_nano_usd` is the sum of the increases that have not been ended. A node that
-- decides a call ends first what is over by its clock (src/budgets/increase.ts), so that a limit
-- falls back on time without any job. And alerts know how far a hard or soft cap is used, and where
-- it is heading.

alter table budgets
  add column increase_nano_usd bigint not null default 0,
  add constraint budgets_increase_not_negative check (increase_nano_usd >= 0);

create table budget_increases (
  organization_id text not null,
  id text not null,
  budget_id text not null,
  amount_nano_usd bigint not null,
  reason text not null,
  created_at timestamptz not null,
  created_by_user_id text,
  ends_at timestamptz not null,
  -- When the limit fell back: at the end, or earlier by hand.
  ended_at timestamptz,
  ended_by_user_id text,
  constraint budget_increases_pkey primary key (organization_id, id),
  constraint budget_increases_budget_fkey foreign key (organization_id, budget_id)
    references budgets (organization_id, id),
  constraint budget_increases_created_by_fkey foreign key (created_by_user_id)
    references users (id),
  constraint budget_increases_ended_by_fkey foreign key (ended_by_user_id) references users (id),
  constraint budget_increases_amount_positive check (amount_nano_usd > 0),
  constraint budget_increases_reason_length check (length(reason) between 1 and 500),
  constraint budget_increases_order check (created_at < ends_at),
  constraint budget_increases_ended_by_when_ended check (
    ended_by_user_id is null or ended_at is not null
  ),
  constraint budget_increases_id_kind check (id like 'inc\_%')
);

create index budget_increases_of_budget on budget_increases (organization_id, budget_id, id);
create index budget_increases_running on budget_increases (ends_at) where ended_at is null;

-- A changed amount or increase holds at once, in the windows that are open as well.
create or replace function budgets_change_open_windows() returns trigger
language plpgsql as $$
begin
  update budget_windows
  set limit_nano_usd = new.amount_nano_usd + new.increase_nano_usd
  where organization_id = new.organization_id
    and budget_id = new.id
    and (window_end is null or window_end > now());
  return null;
end
$$;

create trigger budgets_increase after update of increase_nano_usd on budgets
  for each row when (old.increase_nano_usd is distinct from new.increase_nano_usd)
  execute function budgets_change_open_windows();

-- Who opens a window holds a share of its budget's row (`open_windows`), so that the increase that
-- is read here is the one that the amount was read with.
create function budget_windows_add_increase() returns trigger
language plpgsql as $$
declare
  increase bigint;
begin
  select increase_nano_usd into increase
  from budgets
  where organization_id = new.organization_id and id = new.budget_id;
  new.limit_nano_usd := new.limit_nano_usd + coalesce(increase, 0);
  return new;
end
$$;

create trigger budget_windows_increase before insert on budget_windows
  for each row execute function budget_windows_add_increase();

alter table alerts
  drop constraint alerts_kind,
  add constraint alerts_kind check (
    kind in (
      'budget_half_used', 'budget_mostly_used', 'soft_cap_reached', 'hard_cap_reached',
      'budget_forecast', 'overage', 'reservations_stuck', 'ledger_drift', 'spool_backlog',
      'spool_filling', 'settlement_dead_letters'
    )
  );

-- Whether an alert was raised before for the same window.
create index alerts_subject on alerts (organization_id, kind, subject, opened_at desc);
