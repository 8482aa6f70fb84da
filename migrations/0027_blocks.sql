-- The kill switch: what is blocked spends nothing until the block ends or is lifted. A block is
-- never deleted and, but for its lifting, never changed.

create table blocks (
  organization_id text not null,
  id text not null,
  -- A scope, or a provider or model of the whole organization.
  target_kind text not null,
  -- The id of the scope, `openai`, or a model as keys are granted it: `gpt-4o`, `anthropic/*`.
  target_id text not null,
  reason text not null,
  -- Whether it ends running streams as well.
  cuts_running boolean not null,
  created_at timestamptz not null,
  created_by_user_id text,
  -- Empty: until it is lifted.
  ends_at timestamptz,
  lifted_at timestamptz,
  lifted_by_user_id text,
  constraint blocks_pkey primary key (organization_id, id),
  constraint blocks_organization_fkey foreign key (organization_id) references organizations (id),
  constraint blocks_created_by_fkey foreign key (created_by_user_id) references users (id),
  constraint blocks_lifted_by_fkey foreign key (lifted_by_user_id) references users (id),
  constraint blocks_target_kind check (
    target_kind in (
      'organization', 'branch', 'team', 'project', 'employee', 'agent', 'subagent', 'api_key',
      'provider', 'model'
    )
  ),
  constraint blocks_target_id_length check (length(target_id) between 1 and 300),
  constraint blocks_reason_length check (length(reason) between 1 and 500),
  constraint blocks_end_after_start check (ends_at > created_at),
  constraint blocks_lifted_by_after_lifted check (
    lifted_by_user_id is null or lifted_at is not null
  ),
  constraint blocks_id_kind check (id like 'blk\_%')
);

create index blocks_in_force on blocks (organization_id) where lifted_at is null;

create trigger blocks_epoch after insert or update or delete on blocks
  for each row execute function organizations_grow_epoch();
