-- Evidence about the book: seals that chain its entries by hash, and a record of each scheduled
-- proof. Both are made off the request path; booking an entry only takes a number.
--
-- Neither an entry's time nor its id tells what is new: transactions commit out of order, and a
-- settlement replayed after an outage carries the time at which it happened. Hence a number, from
-- one sequence for all partitions (identity columns of partitioned tables need PostgreSQL 17; a
-- transaction id would not survive a restored dump, a sequence does). Numbers may have gaps: a
-- transaction that was rolled back keeps what it took.
create sequence ledger_entry_numbers as bigint;

-- Entries that are here already are numbered in the order in which they lie on the disk.
alter table ledger_entries
  add column entry_no bigint not null default nextval('ledger_entry_numbers')
  constraint ledger_entries_number_positive check (entry_no > 0);

alter sequence ledger_entry_numbers owned by ledger_entries.entry_no;

create index ledger_entries_numbered on ledger_entries (organization_id, entry_no);

-- One chain an organization. A seal covers every entry of its range of numbers, the ranges follow
-- each other without a gap, and the hash covers the entries, the seal's own columns and the hash
-- before it. docs/reference/ledger.md says how to compute it with other tools.
create table ledger_seals (
  organization_id text not null,
  seal_no bigint not null,
  entry_no_from bigint not null,
  entry_no_through bigint not null,
  entry_count integer not null,
  amount_nano_usd bigint not null,
  previous_hash bytea not null,
  hash bytea not null,
  sealed_at timestamptz not null,
  -- Two sealers at once make the same next seal; one of them gets it.
  constraint ledger_seals_pkey primary key (organization_id, seal_no),
  constraint ledger_seals_from_unique unique (organization_id, entry_no_from),
  constraint ledger_seals_organization_fkey foreign key (organization_id)
    references organizations (id),
  constraint ledger_seals_numbers_positive check (seal_no > 0 and entry_no_from > 0),
  constraint ledger_seals_range check (entry_no_from <= entry_no_through),
  constraint ledger_seals_not_empty check (entry_count > 0),
  constraint ledger_seals_amount_positive check (amount_nano_usd > 0),
  constraint ledger_seals_hashes check (length(previous_hash) = 32 and length(hash) = 32)
);

create trigger ledger_seals_append_only
  before update or delete on ledger_seals
  for each row execute function refuse_change();

create trigger ledger_seals_no_truncate
  before truncate on ledger_seals
  for each statement execute function refuse_change();

-- Owners may grant themselves anything again, but not by mistake.
revoke update, delete, truncate on ledger_seals from current_user, public;

-- What each scheduled proof found. Every node shows the newest on its gauge, whichever ran it.
create table ledger_proofs (
  id bigint not null generated always as identity,
  proved_at timestamptz not null,
  -- Older windows and reservations were left out; empty: nothing was.
  since_at timestamptz,
  difference_count bigint not null,
  drift_nano_usd bigint not null,
  constraint ledger_proofs_pkey primary key (id),
  constraint ledger_proofs_not_negative check (difference_count >= 0 and drift_nano_usd >= 0)
);
