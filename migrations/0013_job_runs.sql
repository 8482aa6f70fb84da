-- One row a job and slot: whoever inserts it runs the slot, on whatever node.

create table job_runs (
  job text not null,
  slot_at timestamptz not null,
  node_id text not null,
  status text not null default 'running',
  started_at timestamptz not null,
  finished_at timestamptz,
  processed_count integer,
  error text,
  constraint job_runs_pkey primary key (job, slot_at),
  constraint job_runs_status check (status in ('running', 'ok', 'partial', 'error', 'timeout')),
  constraint job_runs_finished check ((status = 'running') = (finished_at is null))
);

create index job_runs_newest on job_runs (started_at desc);
