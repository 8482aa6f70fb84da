-- The append-only book. One row is a whole transfer (debit, credit, amount above zero), so that it
-- cannot be unbalanced. Corrections are new rows that name what they reverse. Partitioned by month.

create table ledger_accounts (
  organization_id text not null,
  id text not null,
  kind text not null,
  -- Set for a provider's account: what the organization owes it.
  provider text,
  created_at timestamptz not null,
  constraint ledger_accounts_pkey primary key (organization_id, id),
  constraint ledger_accounts_organization_fkey foreign key (organization_id)
    references organizations (id),
  constraint ledger_accounts_kind check (kind in ('spend', 'provider')),
  constraint ledger_accounts_provider check ((kind = 'provider') = (provider is not null)),
  constraint ledger_accounts_id_kind check (id like 'acc\_%')
);

create table ledger_entries (
  organization_id text not null,
  id text not null,
  occurred_at timestamptz not null,
  kind text not null,
  debit_account_id text not null,
  credit_account_id text not null,
  amount_nano_usd bigint not null,
  request_id text,
  reservation_id text,
  spend_event_id text,
  api_key_id text,
  -- The employee or agent that the key acted for.
  actor_id text,
  reverses_entry_id text,
  constraint ledger_entries_pkey primary key (organization_id, id, occurred_at),
  constraint ledger_entries_debit_fkey foreign key (organization_id, debit_account_id)
    references ledger_accounts (organization_id, id),
  constraint ledger_entries_credit_fkey foreign key (organization_id, credit_account_id)
    references ledger_accounts (organization_id, id),
  constraint ledger_entries_kind check (
    kind in ('settlement', 'recovery', 'adjustment', 'reversal')
  ),
  constraint ledger_entries_two_accounts check (debit_account_id <> credit_account_id),
  constraint ledger_entries_amount_positive check (amount_nano_usd > 0),
  constraint ledger_entries_settlement_complete check (
    kind not in ('settlement', 'recovery')
    or num_nulls(request_id, reservation_id, spend_event_id, api_key_id, actor_id) = 0
  ),
  constraint ledger_entries_reversal_names_entry check (
    (kind = 'reversal') = (reverses_entry_id is not null)
  )
) partition by range (occurred_at);

create index ledger_entries_reservation on ledger_entries (organization_id, reservation_id);
create index ledger_entries_newest on ledger_entries (organization_id, occurred_at desc, id desc);

create trigger ledger_entries_append_only
  before update or delete on ledger_entries
  for each row execute function refuse_change();

create trigger ledger_entries_no_truncate
  before truncate on ledger_entries
  for each statement execute function refuse_change();

-- Owners may grant themselves anything again, but not by mistake.
revoke update, delete, truncate on ledger_entries from current_user, public;
