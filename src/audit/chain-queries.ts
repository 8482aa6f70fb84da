/**
 * SQL of the audit log's seals: the seal over the next events, and what the same events say today.
 * The text that is hashed is written here once, and in docs/reference/audit.md.
 */
import type { Queryable, Sql } from "../database/client.ts";

/** A seal holds no more events than this: some 2 MB of text in the server's memory. */
export const SEAL_EVENTS_MAX = 1_000;

/** The digest of event `e`, as a line: number, id, and the hash over every column. */
function digestLine(sql: Queryable) {
  return sql`
    concat(e.event_no, ' ', e.id, ' ', encode(sha256(convert_to(
      json_build_array(
        e.event_no, e.organization_id, e.id,
        to_char(e.occurred_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        e.user_id, e.service_token_id, e.action, e.subject_kind, e.subject_id, e.before::text,
        e.after::text, e.request_id, e.client_address, e.user_agent
      )::text || chr(10), 'UTF8'
    )), 'hex'), chr(10))
  `;
}

/** The hash of seal `s`: its columns as a line, and the digests of its events. */
function sealHash(sql: Queryable) {
  return sql`
    sha256(convert_to(
      json_build_array(
        s.organization_id, s.seal_no, s.event_no_from, s.event_no_through, s.event_count,
        encode(s.previous_hash, 'hex'),
        to_char(s.sealed_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
      )::text || chr(10) || s.event_digests, 'UTF8'
    ))
  `;
}

/** The highest event number that was ever given out, committed or not; 0 before the first. */
export async function eventNumberLast(sql: Sql): Promise<bigint> {
  const [row] = await sql<[{ event_no: bigint }]>`
    -- name: audit_event_numbers.last
    select case when is_called then last_value else 0 end as event_no from audit_event_numbers
  `;
  return row.event_no;
}

/** Organizations with events up to this number that no seal covers, in id order. */
export async function organizationsToSeal(
  sql: Sql,
  page: { afterId: string; throughNumber: bigint; limit: number },
): Promise<readonly string[]> {
  const rows = await sql<{ id: string }[]>`
    -- name: audit_seals.organizations_to_seal
    select o.id
    from organizations o
    left join lateral (
      select s.event_no_through
      from audit_seals s
      where s.organization_id = o.id
      order by s.seal_no desc
      limit 1
    ) as head on true
    where o.id > ${page.afterId}
      and exists (
        select from audit_log e
        where e.organization_id = o.id
          and e.event_no > coalesce(head.event_no_through, 0)
          and e.event_no <= ${page.throughNumber}
      )
    order by o.id
    limit ${page.limit}
  `;
  return rows.map((row) => row.id);
}

/**
 * Seals the next events up to this number, which must be decided. Answers how many; 0 when none is
 * left, or when another sealer was faster.
 */
export async function auditSealInsert(
  sql: Sql,
  seal: { organizationId: string; throughNumber: bigint; sealedAt: Date },
): Promise<number> {
  const rows = await sql<{ event_count: number }[]>`
    -- name: audit_seals.insert
    with base as (
      select
        coalesce(head.seal_no, 0) + 1 as seal_no,
        coalesce(head.event_no_through, 0) + 1 as event_no_from,
        coalesce(head.hash, decode(repeat('00', 32), 'hex')) as previous_hash
      from (values (true)) as always(holds)
      left join lateral (
        select seal_no, event_no_through, hash
        from audit_seals
        where organization_id = ${seal.organizationId}
        order by seal_no desc
        limit 1
      ) as head on true
    ),
    batch as (
      select e.event_no, e.id, ${digestLine(sql)} as digest
      from audit_log e
      where e.organization_id = ${seal.organizationId}
        and e.event_no >= (select event_no_from from base)
        and e.event_no <= ${seal.throughNumber}
      order by e.event_no
      limit ${SEAL_EVENTS_MAX}
    ),
    content as (
      select
        max(event_no) as event_no_through,
        count(*)::integer as event_count,
        string_agg(digest, '' order by event_no, id collate "C") as event_digests
      from batch
    )
    insert into audit_seals (
      organization_id, seal_no, event_no_from, event_no_through, event_count, event_digests,
      previous_hash, hash, sealed_at
    )
    select
      s.organization_id, s.seal_no, s.event_no_from, s.event_no_through, s.event_count,
      s.event_digests, s.previous_hash, ${sealHash(sql)}, s.sealed_at
    from (
      select
        ${seal.organizationId}::text as organization_id, base.*, content.*,
        ${seal.sealedAt}::timestamptz as sealed_at
      from base
      cross join content
    ) as s
    where s.event_count > 0
    on conflict do nothing
    returning event_count
  `;
  return rows[0]?.event_count ?? 0;
}

export type AuditSealCheckRow = {
  seal_no: bigint;
  event_no_from: bigint;
  event_no_through: bigint;
  event_count: number;
  previous_hash: string;
  hash: string;
  /** Whether the hash is that of the seal as it is today. */
  is_intact: boolean;
  /** What was sealed and what is there today; both null where they are the same. */
  sealed_digests: string | null;
  found_digests: string | null;
};

/** Seals in their order, each compared with itself and with its events of today. */
export async function auditSealCheckList(
  sql: Queryable,
  page: { organizationId: string; afterSealNo: bigint; limit: number },
): Promise<readonly AuditSealCheckRow[]> {
  return await sql<AuditSealCheckRow[]>`
    -- name: audit_seals.check_list
    select
      s.seal_no, s.event_no_from, s.event_no_through, s.event_count,
      encode(s.previous_hash, 'hex') as previous_hash, encode(s.hash, 'hex') as hash,
      s.hash = ${sealHash(sql)} as is_intact,
      case when found.digests <> s.event_digests then s.event_digests end as sealed_digests,
      case when found.digests <> s.event_digests then found.digests end as found_digests
    from (
      select *
      from audit_seals
      where organization_id = ${page.organizationId} and seal_no > ${page.afterSealNo}
      order by seal_no
      limit ${page.limit}
    ) as s
    cross join lateral (
      select coalesce(string_agg(e.digest, '' order by e.event_no, e.id collate "C"), '') as digests
      from (
        select e.event_no, e.id, ${digestLine(sql)} as digest
        from audit_log e
        where e.organization_id = s.organization_id
          and e.event_no between s.event_no_from and s.event_no_through
        order by e.event_no
        -- A range that somebody widened is not read to its end.
        limit ${2 * SEAL_EVENTS_MAX}
      ) as e
    ) as found
    order by s.seal_no
  `;
}

/** How many events have a number above the last sealed one. */
export async function unsealedEventCount(
  sql: Queryable,
  organizationId: string,
  afterNumber: bigint,
): Promise<bigint> {
  const [row] = await sql<[{ count: bigint }]>`
    -- name: audit_log.unsealed_count
    select count(*) from audit_log
    where organization_id = ${organizationId} and event_no > ${afterNumber}
  `;
  return row.count;
}
