/** SQL of blocks. */
import type { Queryable } from "../database/client.ts";
import type { ScopeKind } from "../organizations/scopes.ts";

/** A model is written as keys are granted it. */
export type BlockTarget = { readonly kind: ScopeKind | "provider" | "model"; readonly id: string };

/** What a request is told of a block. */
export type Block = {
  readonly id: string;
  readonly target: BlockTarget;
  readonly reason: string;
  /** Null: until it is lifted. */
  readonly endsAt: Date | null;
};

export type BlockRow = {
  id: string;
  target_kind: BlockTarget["kind"];
  target_id: string;
  reason: string;
  cuts_running: boolean;
  created_at: Date;
  created_by_user_id: string | null;
  created_by_name: string | null;
  ends_at: Date | null;
  lifted_at: Date | null;
  lifted_by_user_id: string | null;
};

export async function blockCountInForce(
  sql: Queryable,
  organizationId: string,
  at: Date,
): Promise<number> {
  const [row] = await sql<[{ count: number }]>`
    -- name: blocks.count_in_force
    select count(*)::integer as count from blocks
    where organization_id = ${organizationId}
      and lifted_at is null
      and (ends_at is null or ends_at > ${at})
  `;
  return row.count;
}

export async function blockInsert(
  sql: Queryable,
  row: {
    organizationId: string;
    id: string;
    target: BlockTarget;
    reason: string;
    cutsRunning: boolean;
    createdAt: Date;
    createdByUserId: string | null;
    endsAt: Date | null;
  },
): Promise<void> {
  await sql`
    -- name: blocks.insert
    insert into blocks (
      organization_id, id, target_kind, target_id, reason, cuts_running, created_at,
      created_by_user_id, ends_at
    )
    values (
      ${row.organizationId}, ${row.id}, ${row.target.kind}, ${row.target.id}, ${row.reason},
      ${row.cutsRunning}, ${row.createdAt}, ${row.createdByUserId}, ${row.endsAt}
    )
  `;
}

/** Answers whether this call lifted it: false for one that was lifted before. */
export async function blockLift(
  sql: Queryable,
  block: { organizationId: string; id: string; liftedAt: Date; liftedByUserId: string | null },
): Promise<boolean> {
  const lifted = await sql`
    -- name: blocks.lift
    update blocks
    set lifted_at = ${block.liftedAt}, lifted_by_user_id = ${block.liftedByUserId}
    where organization_id = ${block.organizationId} and id = ${block.id} and lifted_at is null
    returning id
  `;
  return lifted.length > 0;
}

/** Newest first. `onlyId` asks for one; `inForceAt` leaves out what has ended or was lifted. */
export async function blockList(
  sql: Queryable,
  page: {
    organizationId: string;
    onlyId: string | null;
    inForceAt: Date | null;
    beforeId: string | null;
    limit: number;
  },
): Promise<readonly BlockRow[]> {
  const inForce = sql`
    and b.lifted_at is null and (b.ends_at is null or b.ends_at > ${page.inForceAt})
  `;
  return await sql<BlockRow[]>`
    -- name: blocks.list
    select
      b.id, b.target_kind, b.target_id, b.reason, b.cuts_running, b.created_at,
      b.created_by_user_id, u.name as created_by_name, b.ends_at, b.lifted_at, b.lifted_by_user_id
    from blocks b
    left join users u on u.id = b.created_by_user_id
    where b.organization_id = ${page.organizationId}
      ${page.onlyId === null ? sql`` : sql`and b.id = ${page.onlyId}`}
      ${page.beforeId === null ? sql`` : sql`and b.id < ${page.beforeId}`}
      ${page.inForceAt === null ? sql`` : inForce}
    order by b.id desc
    limit ${page.limit}
  `;
}

/**
 * The blocks that can concern a key in these scopes. Those that ended a moment ago are among them:
 * whether one has ended is decided at each request, by the clock of the node.
 */
export async function blocksOfScopes(
  sql: Queryable,
  organizationId: string,
  scopeIds: readonly string[],
): Promise<readonly Block[]> {
  return await sql<Block[]>`
    -- name: blocks.of_scopes
    select
      id, json_build_object('kind', target_kind, 'id', target_id) as target, reason,
      ends_at as "endsAt"
    from blocks
    where organization_id = ${organizationId}
      and lifted_at is null
      and (ends_at is null or ends_at > now() - interval '1 hour')
      and (target_kind in ('provider', 'model') or target_id = any(${[...scopeIds]}::text[]))
    order by id
  `;
}

/** A block that ends running streams; `block` is null for a key that was revoked that way. */
export type CuttingBlock = {
  readonly organizationId: string;
  readonly target: BlockTarget;
  readonly block: Block | null;
};

/** What in these organizations ends running streams now. No stream is older than an hour. */
export async function blocksCutting(
  sql: Queryable,
  organizationIds: readonly string[],
  at: Date,
): Promise<readonly CuttingBlock[]> {
  const rows = await sql<(Block & { organizationId: string; isRevocation: boolean })[]>`
    -- name: blocks.cutting
    select
      organization_id as "organizationId", id,
      json_build_object('kind', target_kind, 'id', target_id) as target, reason,
      ends_at as "endsAt", false as "isRevocation"
    from blocks
    where organization_id = any(${[...organizationIds]}::text[])
      and lifted_at is null
      and cuts_running
      and (ends_at is null or ends_at > ${at})
    union all
    select
      organization_id, id, json_build_object('kind', 'api_key', 'id', id), '', null, true
    from api_keys
    where organization_id = any(${[...organizationIds]}::text[])
      and revocation_cuts_running
      and revoked_at > ${at}::timestamptz - interval '1 hour'
  `;
  return rows.map(({ organizationId, isRevocation, ...block }) => ({
    organizationId,
    target: block.target,
    block: isRevocation ? null : block,
  }));
}
