/** SQL of reviews and of the permits that come of them. */
import type { Queryable, Transaction } from "../database/client.ts";
import type { NanoUsd } from "../money.ts";

export type ReviewStatus = "open" | "granted" | "denied";
export type PermitKind = "once" | "until";
export type PermitCovers = "key" | "actor";

export type ReviewRow = {
  id: string;
  policy_id: string;
  policy_name: string;
  api_key_id: string;
  api_key_name: string;
  actor_id: string;
  provider: string;
  model: string;
  amount_nano_usd: NanoUsd;
  request_count: bigint;
  requested_at: Date;
  last_requested_at: Date;
  status: ReviewStatus;
  version: number;
  decided_at: Date | null;
  reason: string | null;
  permit_kind: PermitKind | null;
  permit_covers: PermitCovers | null;
  permit_max_nano_usd: NanoUsd | null;
  permit_ends_at: Date | null;
  used_at: Date | null;
};

/** Newest first. */
export async function reviewList(
  sql: Queryable,
  page: {
    organizationId: string;
    status: ReviewStatus | null;
    onlyId: string | null;
    beforeId: string;
    limit: number;
  },
): Promise<readonly ReviewRow[]> {
  return await sql<ReviewRow[]>`
    -- name: reviews.list
    select
      r.id, r.policy_id, p.name as policy_name, r.api_key_id, k.name as api_key_name, r.actor_id,
      r.provider, r.model, r.amount_nano_usd, r.request_count, r.requested_at,
      r.last_requested_at, r.status, r.version, r.decided_at, r.reason, r.permit_kind,
      r.permit_covers, r.permit_max_nano_usd, r.permit_ends_at, r.used_at
    from reviews r
    join policies p on p.organization_id = r.organization_id and p.id = r.policy_id
    join api_keys k on k.organization_id = r.organization_id and k.id = r.api_key_id
    where r.organization_id = ${page.organizationId}
      and r.id < ${page.beforeId}
      and (${page.status}::text is null or r.status = ${page.status})
      and (${page.onlyId}::text is null or r.id = ${page.onlyId})
    order by r.id desc
    limit ${page.limit}
  `;
}

export type LockedReviewRow = {
  status: ReviewStatus;
  version: number;
  amount_nano_usd: NanoUsd;
  permit_kind: PermitKind | null;
  used_at: Date | null;
};

export async function reviewLock(
  transaction: Transaction,
  { organizationId, id }: { organizationId: string; id: string },
): Promise<LockedReviewRow | null> {
  const [row] = await transaction<LockedReviewRow[]>`
    -- name: reviews.lock
    select status, version, amount_nano_usd, permit_kind, used_at
    from reviews
    where organization_id = ${organizationId} and id = ${id}
    for no key update
  `;
  return row ?? null;
}

type Permit = {
  kind: PermitKind;
  covers: PermitCovers;
  maxNanoUsd: NanoUsd;
  endsAt: Date;
};

/** `permit` null denies, and takes a permit away. */
export async function reviewDecide(
  transaction: Transaction,
  review: {
    organizationId: string;
    id: string;
    permit: Permit | null;
    reason: string | null;
    decidedAt: Date;
    decidedByUserId: string | null;
  },
): Promise<void> {
  const { permit } = review;
  await transaction`
    -- name: reviews.decide
    update reviews
    set
      status = ${permit === null ? "denied" : "granted"},
      version = version + 1,
      reason = ${review.reason},
      decided_at = ${review.decidedAt},
      decided_by_user_id = ${review.decidedByUserId},
      permit_kind = ${permit?.kind ?? null},
      permit_covers = ${permit?.covers ?? null},
      permit_max_nano_usd = ${permit?.maxNanoUsd ?? null},
      permit_ends_at = ${permit?.endsAt ?? null}
    where organization_id = ${review.organizationId} and id = ${review.id}
  `;
}

/** A call that needs a permit of one policy. */
export type PermitNeed = {
  organizationId: string;
  policyId: string;
  apiKeyId: string;
  actorId: string;
  provider: string;
  model: string;
  amountNanoUsd: NanoUsd;
};

/**
 * Puts the need on record: a new open review, or once more in the one that is open. Answers its id,
 * or null when the organization's rules are not those of this epoch any more.
 */
export async function reviewFile(
  sql: Queryable,
  need: PermitNeed & { id: string; governanceEpoch: bigint; requestedAt: Date },
): Promise<string | null> {
  const [row] = await sql<{ id: string }[]>`
    -- name: reviews.file
    insert into reviews as r (
      organization_id, id, policy_id, api_key_id, actor_id, provider, model, amount_nano_usd,
      requested_at, last_requested_at
    )
    select
      o.id, ${need.id}, ${need.policyId}, ${need.apiKeyId}, ${need.actorId},
      ${need.provider}, ${need.model}, ${need.amountNanoUsd}, ${need.requestedAt},
      ${need.requestedAt}
    from organizations o
    where o.id = ${need.organizationId} and o.governance_epoch = ${need.governanceEpoch}
    on conflict (organization_id, policy_id, api_key_id, provider, model) where status = 'open'
    do update
    set
      request_count = r.request_count + 1,
      last_requested_at = greatest(r.last_requested_at, excluded.last_requested_at),
      -- Who decides must have seen the dearest of them.
      version = r.version + (excluded.amount_nano_usd > r.amount_nano_usd)::integer,
      amount_nano_usd = greatest(r.amount_nano_usd, excluded.amount_nano_usd)
    returning r.id
  `;
  return row?.id ?? null;
}

/** Whether a permit for any number of calls is in force. */
export async function permitIsOpen(sql: Queryable, need: PermitNeed, at: Date): Promise<boolean> {
  const rows = await sql`
    -- name: reviews.permit_is_open
    select from reviews r
    where ${permits(sql, need, at)} and r.permit_kind = 'until'
    limit 1
  `;
  return rows.length > 0;
}

/**
 * Spends a permit for one call; false when there is none. One that was spent on a reservation that
 * was released may be spent again: nothing was bought.
 */
export async function permitSpend(
  transaction: Transaction,
  need: PermitNeed,
  reservationId: string,
  at: Date,
): Promise<boolean> {
  const { count } = await transaction`
    -- name: reviews.permit_spend
    update reviews
    set used_at = ${at}, used_reservation_id = ${reservationId}
    where organization_id = ${need.organizationId}
      and id = (
        select r.id
        from reviews r
        where ${permits(transaction, need, at)}
          and r.permit_kind = 'once'
          and ${isUnspent(transaction)}
        order by r.permit_ends_at, r.id
        -- A permit that another call is spending is not waited for.
        for update of r skip locked
        limit 1
      )
  `;
  return count > 0;
}

/** Frees what was spent on a reservation that was not made. */
export async function permitsReturn(
  sql: Queryable,
  spent: {
    organizationId: string;
    policyIds: readonly string[];
    actorId: string;
    reservationId: string;
  },
): Promise<void> {
  await sql`
    -- name: reviews.permits_return
    update reviews
    set used_at = null, used_reservation_id = null
    where organization_id = ${spent.organizationId}
      and policy_id = any(${[...spent.policyIds]}::text[])
      and actor_id = ${spent.actorId}
      and status = 'granted'
      and used_reservation_id = ${spent.reservationId}
  `;
}

/** That a review's permit is good for this call, whether it is spent or not. */
function permits(sql: Queryable, need: PermitNeed, at: Date) {
  return sql`
    r.organization_id = ${need.organizationId}
    and r.policy_id = ${need.policyId}
    and r.actor_id = ${need.actorId}
    and r.status = 'granted'
    and r.provider = ${need.provider}
    and r.model = ${need.model}
    and (r.permit_covers = 'actor' or r.api_key_id = ${need.apiKeyId})
    and r.permit_max_nano_usd >= ${need.amountNanoUsd}
    and r.permit_ends_at > ${at}
  `;
}

/** Whether a call like this would find a permit. */
export async function permitIsFree(sql: Queryable, need: PermitNeed, at: Date): Promise<boolean> {
  const rows = await sql`
    -- name: reviews.permit_is_free
    select from reviews r
    where ${permits(sql, need, at)}
      and (r.permit_kind = 'until' or ${isUnspent(sql)})
    limit 1
  `;
  return rows.length > 0;
}

/** Never spent, or on a reservation that was released: nothing was bought. */
function isUnspent(sql: Queryable) {
  return sql`(
    r.used_reservation_id is null
    or exists (
      select from reservations v
      where v.organization_id = r.organization_id
        and v.id = r.used_reservation_id
        and v.status = 'released'
    )
  )`;
}
