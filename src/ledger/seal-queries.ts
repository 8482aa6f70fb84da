/**
 * SQL of the seals: which entry numbers are decided, the seal over the next ones, and the same hash
 * computed again. The text that is hashed is written here once, and in docs/reference/ledger.md.
 */
import type { Queryable, Sql } from "../database/client.ts";

/** A seal holds no more entries than this: some 2 MB of text in the server's memory. */
export const SEAL_ENTRIES_MAX = 5_000;

/** Entry `e` as one line of JSON: every column, ended by a line feed. */
function entryLine(sql: Queryable) {
  return sql`
    json_build_array(
      e.entry_no, e.organization_id, e.id,
      to_char(e.occurred_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
      e.kind, e.debit_account_id, e.credit_account_id, e.amount_nano_usd, e.request_id,
      e.reservation_id, e.spend_event_id, e.api_key_id, e.actor_id, e.reverses_entry_id
    )::text || chr(10)
  `;
}

/** Seal `s` as the line above its entries: every column but the hash itself. */
function sealLine(sql: Queryable) {
  return sql`
    json_build_array(
      s.organization_id, s.seal_no, s.entry_no_from, s.entry_no_through, s.entry_count,
      s.amount_nano_usd, encode(s.previous_hash, 'hex'),
      to_char(s.sealed_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    )::text || chr(10)
  `;
}

/** The highest entry number that was ever given out, committed or not; 0 before the first. */
export async function entryNumberLast(sql: Sql): Promise<bigint> {
  const [row] = await sql<[{ entry_no: bigint }]>`
    -- name: ledger_entry_numbers.last
    select case when is_called then last_value else 0 end as entry_no from ledger_entry_numbers
  `;
  return row.entry_no;
}

/** Organizations with entries up to this number that no seal covers, in id order. */
export async function organizationsToSeal(
  sql: Sql,
  page: { afterId: string; throughNumber: bigint; limit: number },
): Promise<readonly string[]> {
  const rows = await sql<{ id: string }[]>`
    -- name: ledger_seals.organizations_to_seal
    select o.id
    from organizations o
    left join lateral (
      select s.entry_no_through
      from ledger_seals s
      where s.organization_id = o.id
      order by s.seal_no desc
      limit 1
    ) as head on true
    where o.id > ${page.afterId}
      and exists (
        select from ledger_entries e
        where e.organization_id = o.id
          and e.entry_no > coalesce(head.entry_no_through, 0)
          and e.entry_no <= ${page.throughNumber}
      )
    order by o.id
    limit ${page.limit}
  `;
  return rows.map((row) => row.id);
}

/**
 * Seals the next entries up to this number, which must be decided. Answers how many; 0 when none is
 * left, or when another sealer was faster.
 */
export async function sealInsert(
  sql: Sql,
  seal: { organizationId: string; throughNumber: bigint; sealedAt: Date },
): Promise<number> {
  const rows = await sql<{ entry_count: number }[]>`
    -- name: ledger_seals.insert
    with base as (
      select
        coalesce(head.seal_no, 0) + 1 as seal_no,
        coalesce(head.entry_no_through, 0) + 1 as entry_no_from,
        coalesce(head.hash, decode(repeat('00', 32), 'hex')) as previous_hash
      from (values (true)) as always(holds)
      left join lateral (
        select seal_no, entry_no_through, hash
        from ledger_seals
        where organization_id = ${seal.organizationId}
        order by seal_no desc
        limit 1
      ) as head on true
    ),
    batch as (
      select e.entry_no, e.id, e.amount_nano_usd, ${entryLine(sql)} as line
      from ledger_entries e
      where e.organization_id = ${seal.organizationId}
        and e.entry_no >= (select entry_no_from from base)
        and e.entry_no <= ${seal.throughNumber}
      order by e.entry_no
      limit ${SEAL_ENTRIES_MAX}
    ),
    content as (
      select
        max(entry_no) as entry_no_through,
        count(*)::integer as entry_count,
        sum(amount_nano_usd)::bigint as amount_nano_usd,
        string_agg(line, '' order by entry_no, id collate "C") as lines
      from batch
    )
    insert into ledger_seals (
      organization_id, seal_no, entry_no_from, entry_no_through, entry_count, amount_nano_usd,
      previous_hash, hash, sealed_at
    )
    select
      s.organization_id, s.seal_no, s.entry_no_from, s.entry_no_through, s.entry_count,
      s.amount_nano_usd, s.previous_hash,
      sha256(convert_to(${sealLine(sql)} || s.lines, 'UTF8')),
      s.sealed_at
    from (
      select
        ${seal.organizationId}::text as organization_id, base.*, content.*,
        ${seal.sealedAt}::timestamptz as sealed_at
      from base
      cross join content
    ) as s
    where s.entry_count > 0
    on conflict do nothing
    returning entry_count
  `;
  return rows[0]?.entry_count ?? 0;
}

export type SealCheckRow = {
  seal_no: bigint;
  entry_no_from: bigint;
  entry_no_through: bigint;
  entry_count: number;
  amount_nano_usd: bigint;
  previous_hash: string;
  hash: string;
  found_count: number;
  found_nano_usd: bigint;
  found_hash: string;
};

/** Seals in their order, each with what its entries add up to and hash to today. */
export async function sealCheckList(
  sql: Queryable,
  page: { organizationId: string; afterSealNo: bigint; limit: number },
): Promise<readonly SealCheckRow[]> {
  return await sql<SealCheckRow[]>`
    -- name: ledger_seals.check_list
    select
      s.seal_no, s.entry_no_from, s.entry_no_through, s.entry_count, s.amount_nano_usd,
      encode(s.previous_hash, 'hex') as previous_hash, encode(s.hash, 'hex') as hash,
      found.entry_count as found_count, found.amount_nano_usd as found_nano_usd,
      encode(
        sha256(convert_to(${sealLine(sql)} || coalesce(found.lines, ''), 'UTF8')), 'hex'
      ) as found_hash
    from (
      select *
      from ledger_seals
      where organization_id = ${page.organizationId} and seal_no > ${page.afterSealNo}
      order by seal_no
      limit ${page.limit}
    ) as s
    cross join lateral (
      select
        count(*)::integer as entry_count,
        coalesce(sum(e.amount_nano_usd), 0)::bigint as amount_nano_usd,
        string_agg(e.line, '' order by e.entry_no, e.id collate "C") as lines
      from (
        select e.entry_no, e.id, e.amount_nano_usd, ${entryLine(sql)} as line
        from ledger_entries e
        where e.organization_id = s.organization_id
          and e.entry_no between s.entry_no_from and s.entry_no_through
        order by e.entry_no
        -- One more than a seal can have: a range that somebody widened is not read to its end.
        limit ${SEAL_ENTRIES_MAX + 1}
      ) as e
    ) as found
    order by s.seal_no
  `;
}

/** How many entries have a number above the last sealed one. */
export async function unsealedCount(
  sql: Queryable,
  organizationId: string,
  afterNumber: bigint,
): Promise<bigint> {
  const [row] = await sql<[{ count: bigint }]>`
    -- name: ledger_entries.unsealed_count
    select count(*) from ledger_entries
    where organization_id = ${organizationId} and entry_no > ${afterNumber}
  `;
  return row.count;
}
