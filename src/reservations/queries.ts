/** The statements of the reservation's life. What they do inside: migrations 0018 to 0022. */
import type { Queryable, Sql } from "../database/client.ts";
import type { BatchJson } from "./batch-json.ts";

/** What `write_batch` tells of a batch (type `written`, migration 0021). */
export type BatchRow = {
  kind: "window" | "refused" | "unchanged";
  reservation_id: string | null;
  outcome: string | null;
  window_id: string | null;
  limit_units: bigint | null;
  used_units: bigint | null;
  held_units: bigint | null;
};

export type HeldRow = {
  organizationId: string;
  id: string;
  requestId: string;
  apiKeyId: string;
  actorId: string;
  provider: string;
  model: string;
  route: string;
  amountNanoUsd: bigint;
  windowIds: string[];
  promptTokensMax: bigint;
  completionTokensMax: bigint;
  priceVersion: string;
  reservedAt: Date;
};

/** Opens windows that are used for the first time; those that are open already stay as they are. */
export async function windowsOpen(sql: Sql, windowsJson: string): Promise<void> {
  await sql`
    -- name: budget_windows.open
    select open_windows(${windowsJson}::text::json)
  `;
}

/**
 * One batch, one transaction. Answers the windows that reservations asked for as they are now, the
 * reservations that were refused and the closings that changed nothing.
 */
export async function batchWrite(
  sql: Sql,
  batch: BatchJson,
  writtenAt: Date,
): Promise<readonly BatchRow[]> {
  // Cast from text in the statement: the driver would encode a string for a json column once more.
  return await sql<BatchRow[]>`
    -- name: reservations.write_batch
    select * from write_batch(
      ${batch.windows}::text::json,
      ${batch.hasRates},
      ${batch.closings}::text::json,
      ${batch.closingCount},
      ${batch.groups}::text::json,
      ${batch.members}::text::json,
      ${batch.hasIdempotency},
      ${batch.requests}::text::json,
      ${writtenAt}
    )
  `;
}

/** Moves the deadline of held reservations. */
export async function reservationExtend(
  sql: Queryable,
  organizationIds: readonly string[],
  reservationIds: readonly string[],
  deadlineAt: Date,
): Promise<void> {
  await sql`
    -- name: reservations.extend
    update reservations r
    set deadline_at = ${deadlineAt}
    from unnest(${organizationIds}::text[], ${reservationIds}::text[]) as i(organization_id, id)
    where r.organization_id = i.organization_id and r.id = i.id and r.status = 'held'
  `;
}

/** What a node held before it started anew: nobody else will end it. */
export async function reservationsHeldByNode(
  sql: Queryable,
  nodeId: string,
  before: Date,
  rowsMax: number,
): Promise<readonly HeldRow[]> {
  return await sql<HeldRow[]>`
    -- name: reservations.held_by_node
    select ${heldColumns(sql)}
    from reservations
    where status = 'held' and node_id = ${nodeId} and reserved_at < ${before}
    order by deadline_at
    limit ${rowsMax}
  `;
}

export type UsedKeyRow = {
  id: string;
  requestId: string;
  status: "held" | "settled" | "expired";
  bodyHash: string;
  costNanoUsd: bigint | null;
  endedAt: Date | null;
};

/** The call that an idempotency key was used for; none when it bought nothing. */
export async function reservationFindByIdempotency(
  sql: Queryable,
  key: { organizationId: string; apiKeyId: string; keyHash: string },
): Promise<UsedKeyRow | null> {
  const [row] = await sql<UsedKeyRow[]>`
    -- name: reservations.find_by_idempotency
    select
      id, request_id as "requestId", status, encode(body_hash, 'hex') as "bodyHash",
      cost_nano_usd as "costNanoUsd", ended_at as "endedAt"
    from reservations
    where organization_id = ${key.organizationId}
      and api_key_id = ${key.apiKeyId}
      and idempotency_hash = decode(${key.keyHash}, 'hex')
      and status <> 'released'
  `;
  return row ?? null;
}

/** Held reservations whose deadline has passed, oldest first. */
export async function reservationsPastDeadline(
  sql: Queryable,
  at: Date,
  rowsMax: number,
): Promise<readonly HeldRow[]> {
  return await sql<HeldRow[]>`
    -- name: reservations.past_deadline
    select ${heldColumns(sql)}
    from reservations
    where status = 'held' and deadline_at < ${at}
    order by deadline_at
    limit ${rowsMax}
  `;
}

function heldColumns(sql: Queryable) {
  return sql`
    organization_id as "organizationId", id, request_id as "requestId",
    api_key_id as "apiKeyId", actor_id as "actorId", provider, model, route,
    amount_nano_usd as "amountNanoUsd",
    window_ids || coalesce(rate_window_ids, '{}') as "windowIds",
    prompt_tokens_max as "promptTokensMax", completion_tokens_max as "completionTokensMax",
    price_version as "priceVersion", reserved_at as "reservedAt"
  `;
}
