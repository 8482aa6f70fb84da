-- What needs a look by a person: a soft cap that is reached, money that waits, books that differ.
-- An alert is open until its cause is gone; then it is resolved, never deleted. While it is open it
-- is one row, however often its cause is found.

create table alerts (
  -- Empty for what concerns the whole installation: a node's spool, the ledger's proof.
  organization_id text not null,
  id text not null,
  kind text not null,
  severity text not null,
  -- What it is about: the id of a budget, of a node, ...
  subject text not null,
  summary text not null,
  -- Numbers and ids behind the summary; amounts are decimal strings of dollars.
  details jsonb not null default '{}',
  opened_at timestamptz not null,
  last_seen_at timestamptz not null,
  resolved_at timestamptz,
  constraint alerts_pkey primary key (organization_id, id),
  constraint alerts_organization check (
    organization_id = '' or organization_id like 'org\_%'
  ),
  constraint alerts_kind check (
    kind in (
      'soft_cap_reached', 'overage', 'reservations_stuck', 'ledger_drift', 'spool_backlog',
      'spool_filling', 'settlement_dead_letters'
    )
  ),
  constraint alerts_severity check (severity in ('warning', 'critical')),
  constraint alerts_order check (opened_at <= last_seen_at and opened_at <= resolved_at),
  constraint alerts_id_kind check (id like 'alt\_%')
);

-- One open alert a cause.
create unique index alerts_open on alerts (organization_id, kind, subject)
  where resolved_at is null;
create index alerts_newest on alerts (organization_id, opened_at desc, id desc);

-- Overages are few; they are looked for every half minute.
create index spend_events_overage on spend_events (occurred_at) where is_overage;
