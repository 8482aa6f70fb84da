-- Who changed what, written in the transaction of the change. Append-only: a wrong row is answered
-- by another row, and neither an update nor a delete gets past the trigger.

create function refuse_change() returns trigger
language plpgsql as $$
begin
  raise exception '% is append-only: % refused', tg_table_name, lower(tg_op)
    using errcode = 'restrict_violation', constraint = tg_table_name || '_append_only';
end
$$;

create table audit_log (
  organization_id text not null,
  id text not null,
  occurred_at timestamptz not null,
  -- Empty where the installation itself acted (first set-up, command line).
  user_id text,
  action text not null,
  subject_kind text not null,
  subject_id text not null,
  before jsonb,
  after jsonb,
  request_id text,
  constraint audit_log_pkey primary key (organization_id, id),
  constraint audit_log_organization_fkey foreign key (organization_id)
    references organizations (id),
  constraint audit_log_user_fkey foreign key (user_id) references users (id),
  constraint audit_log_id_kind check (id like 'aud\_%')
);

create trigger audit_log_append_only
  before update or delete on audit_log
  for each row execute function refuse_change();

create trigger audit_log_no_truncate
  before truncate on audit_log
  for each statement execute function refuse_change();

-- Owners may grant themselves anything again, but not by mistake.
revoke update, delete, truncate on audit_log from current_user, public;
