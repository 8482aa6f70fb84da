-- Policies that are tried before they bind (shadow), and policies that ask a person first (review).

alter table policies
  -- `shadow`: evaluated and counted, never enforced.
  add column mode text not null default 'enforced',
  add constraint policies_mode check (mode in ('enforced', 'shadow')),
  -- A soft cap never refuses: there is nothing to try.
  add constraint policies_soft_cap_enforced check (mode = 'enforced' or kind <> 'soft_cap');

-- What policies in shadow would have done. Not money: a node that is killed loses what it had not
-- written, less than a second of it.
create table policy_shadow_days (
  organization_id text not null,
  policy_id text not null,
  -- UTC.
  counted_on date not null,
  calls bigint not null,
  refusals bigint not null,
  constraint policy_shadow_days_pkey primary key (organization_id, policy_id, counted_on),
  constraint policy_shadow_days_policy_fkey foreign key (organization_id, policy_id)
    references policies (organization_id, id),
  constraint policy_shadow_days_refusals check (refusals between 0 and calls)
)
with (fillfactor = 70);

-- A window of a rate limit in shadow counts like any other and has room for everything; its real
-- limit is in the policy. A changed limit or mode holds at once, in the open windows as well.
create function policies_change_open_rate_windows() returns trigger
language plpgsql as $$
begin
  update rate_windows
  set limit_units = case
      when new.mode = 'shadow' then 9223372036854775807
      else (new.settings ->> 'limit')::bigint
    end
  where organization_id = new.organization_id
    and policy_id = new.id
    and (window_end is null or window_end > now());
  return null;
end
$$;

create trigger policies_rate_limit after update of settings, mode on policies
  for each row when (
    new.kind = 'rate_limit'
    and (old.settings is distinct from new.settings or old.mode is distinct from new.mode)
  )
  execute function policies_change_open_rate_windows();

create index rate_windows_policy on rate_windows (organization_id, policy_id);

create function rate_windows_in_shadow() returns trigger
language plpgsql as $$
declare
  policy_mode text;
begin
  select mode into policy_mode
  from policies
  where organization_id = new.organization_id and id = new.policy_id;
  if policy_mode = 'shadow' then
    new.limit_units := 9223372036854775807;
  end if;
  return new;
end
$$;

create trigger rate_windows_shadow before insert on rate_windows
  for each row execute function rate_windows_in_shadow();

-- What a call was refused for until a person decides, and the permit that came of it. A permit is
-- spent by one conditional update before the money is reserved; it is free again when its
-- reservation was released, because nothing was bought.
create table reviews (
  organization_id text not null,
  id text not null,
  policy_id text not null,
  api_key_id text not null,
  actor_id text not null,
  provider text not null,
  model text not null,
  -- The most that any of the calls could have cost.
  amount_nano_usd bigint not null,
  request_count bigint not null default 1,
  requested_at timestamptz not null,
  last_requested_at timestamptz not null,
  status text not null default 'open',
  version integer not null default 1,
  decided_at timestamptz,
  decided_by_user_id text,
  reason text,
  -- `once`: one call. `until`: any number of calls. Both end.
  permit_kind text,
  -- The key that asked, or every key of its actor.
  permit_covers text,
  permit_max_nano_usd bigint,
  permit_ends_at timestamptz,
  used_at timestamptz,
  used_reservation_id text,
  constraint reviews_pkey primary key (organization_id, id),
  constraint reviews_policy_fkey foreign key (organization_id, policy_id)
    references policies (organization_id, id),
  constraint reviews_api_key_fkey foreign key (organization_id, api_key_id)
    references api_keys (organization_id, id),
  constraint reviews_decided_by_fkey foreign key (decided_by_user_id) references users (id),
  constraint reviews_status check (status in ('open', 'granted', 'denied')),
  constraint reviews_decided check ((status = 'open') = (decided_at is null)),
  constraint reviews_permit check (
    num_nonnulls(permit_kind, permit_covers, permit_max_nano_usd, permit_ends_at)
      = case when status = 'granted' then 4 else 0 end
  ),
  constraint reviews_permit_kind check (permit_kind in ('once', 'until')),
  constraint reviews_permit_covers check (permit_covers in ('key', 'actor')),
  constraint reviews_used_once check (
    (used_at is null) = (used_reservation_id is null)
  ),
  constraint reviews_amounts_not_negative check (
    amount_nano_usd >= 0 and permit_max_nano_usd >= 0 is not false
  ),
  constraint reviews_reason_length check (length(reason) between 1 and 500),
  constraint reviews_id_kind check (id like 'rev\_%')
);

-- One open review for what is asked again and again.
create unique index reviews_open
  on reviews (organization_id, policy_id, api_key_id, provider, model)
  where status = 'open';
create index reviews_permits on reviews (organization_id, policy_id, actor_id)
  where status = 'granted';
