/**
 * (d) A book with many entries: what settled calls leave behind, a great many times, in every table
 * that grows with them; with ids like real ones, spread evenly over the past and sealed.
 */
import { statfs } from "node:fs/promises";
import { systemClock } from "../../src/clock.ts";
import type { Queryable, Sql } from "../../src/database/client.ts";
import { providerAccountId, spendAccountId } from "../../src/ledger/account.ts";
import { sealLedger } from "../../src/ledger/seal.ts";

type Payer = { organizationId: string; apiKeyId: string; employeeId: string; teamId: string };
type Span = { fromRow: number; toRow: number; startMs: number; stepMs: number };
type Log = (line: string) => void;

const DAY_MS = 24 * 60 * 60_000;
/** Rows of one transaction. */
const ROWS_A_STATEMENT = 20_000;
/** One a processor of a small machine. */
const FILLERS = 2;
const REPORT_MS = 10_000;
/** Of one settled call in all tables and indexes, measured; and what PostgreSQL writes beside. */
const BYTES_A_ROW = 2_600;
const BYTES_BESIDE = 3 * 2 ** 30;
const GIBIBYTE = 2 ** 30;

/** Crockford's base 32, as in src/id.ts. */
const ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/** Of an id, from milliseconds: see `src/id.ts`. Hexadecimal digits are in the alphabet too. */
const ULID = [45, 40, 35, 30, 25, 20, 15, 10, 5, 0]
  .map((shift) => `substr('${ALPHABET}', ((ms >> ${shift}) & 31)::int + 1, 1)`)
  .concat("upper(substr(md5(n::text), 1, 16))")
  .join(" || ");

/** The disk has not the room for what was asked for. */
export class NoRoomError extends Error {
  override readonly name = "NoRoomError";
}

/** Throws `NoRoomError` when the data directory's disk cannot take as many settled calls. */
export async function requireRoom(dataDirectory: string, rows: number): Promise<void> {
  const disk = await statfs(dataDirectory);
  const freeGib = (disk.bavail * disk.bsize) / GIBIBYTE;
  const neededGib = (rows * BYTES_A_ROW + BYTES_BESIDE) / GIBIBYTE;
  if (freeGib < neededGib) {
    throw new NoRoomError(
      `${rows} rows need about ${neededGib.toFixed(0)} GiB in ${dataDirectory}, ` +
        `and ${freeGib.toFixed(0)} GiB are free`,
    );
  }
}

/**
 * Fills with `rows` settled calls of 1 micro-dollar, the newest a day old at most, and seals
 * them. `sql` needs as many connections as there are fillers, and a role that may switch
 * triggers off: foreign keys are not looked up for each of them.
 */
export async function fillLedger(
  sql: Sql,
  payer: Payer,
  options: { rows: number; days: number; log: Log },
): Promise<void> {
  const { rows, days, log } = options;
  const startMs = Date.now() - days * DAY_MS;
  const stepMs = (days * DAY_MS) / rows;
  await sql`
    select open_month_partitions(${new Date(startMs)}::date, ${Math.ceil(days / 28) + 1}::int)
  `;
  const startedMs = performance.now();
  let next = 0;
  let reportedMs = startedMs;
  const filler = async (): Promise<void> => {
    while (next < rows) {
      const fromRow = next;
      next = Math.min(next + ROWS_A_STATEMENT, rows);
      await fillSpan(sql, payer, { fromRow, toRow: next - 1, startMs, stepMs });
      if (performance.now() - reportedMs > REPORT_MS) {
        reportedMs = performance.now();
        await report(sql, next, rows, startedMs, log);
      }
    }
  };
  await Promise.all(Array.from({ length: FILLERS }, filler));
  await sealAll(sql);
  await report(sql, rows, rows, startedMs, log);
}

async function fillSpan(sql: Sql, payer: Payer, span: Span): Promise<void> {
  await sql.begin(async (transaction) => {
    await transaction`set local statement_timeout = 0`;
    await transaction`set local session_replication_role = replica`;
    await insertCalls(transaction, payer, span);
    await insertUsage(transaction, payer, span);
  });
}

async function insertCalls(sql: Queryable, payer: Payer, span: Span): Promise<void> {
  const { organizationId, apiKeyId, employeeId, teamId } = payer;
  await sql`
    with numbered as materialized (
      select n, ${span.startMs}::bigint + (n * ${span.stepMs}::float8)::bigint as ms
      from generate_series(${span.fromRow}::int, ${span.toRow}::int) n
    ),
    made as materialized (
      select ${sql.unsafe(ULID)} as ulid, to_timestamp(ms / 1000.0) as at from numbered
    ),
    new_reservations as (
      insert into reservations (
        organization_id, id, request_id, api_key_id, actor_id, team_id, provider, model, route,
        amount_nano_usd, window_ids, prompt_tokens_max, completion_tokens_max, price_version,
        status, node_id, reserved_at, deadline_at, settled_at, ended_at, cost_nano_usd
      )
      select
        ${organizationId}, 'rsv_' || ulid, 'req_' || ulid, ${apiKeyId}, ${employeeId}, ${teamId},
        'openai', 'gpt-4o-mini', '/v1/chat/completions',
        1000, array['win_fill_organization', 'win_fill_team'], 900, 100, 'bench',
        'settled', 'nod_fill', at, at + interval '3 min', at, at, 1000
      from made
    ),
    new_spend_events as (
      insert into spend_events (
        organization_id, id, occurred_at, reservation_id, request_id, api_key_id, provider,
        model, usage_source, price_version, cost_nano_usd, is_overage,
        input_uncached_tokens, output_text_tokens, provider_usage
      )
      select
        ${organizationId}, 'spe_' || ulid, at, 'rsv_' || ulid, 'req_' || ulid, ${apiKeyId},
        'openai', 'gpt-4o-mini', 'provider', 'bench', 1000, false, 230, 48,
        '{"prompt_tokens": 230, "completion_tokens": 48, "total_tokens": 278}'
      from made
    ),
    new_requests as (
      insert into gateway_requests (
        organization_id, id, received_at, route, api_key_id, actor_id, provider, model,
        is_streaming, policy_result, status, reservation_id, duration_ms
      )
      select
        ${organizationId}, 'req_' || ulid, at, '/v1/chat/completions', ${apiKeyId}, ${employeeId},
        'openai', 'gpt-4o-mini', false, 'granted', 200, 'rsv_' || ulid, 900
      from made
    )
    insert into ledger_entries (
      organization_id, id, occurred_at, kind, debit_account_id, credit_account_id,
      amount_nano_usd, request_id, reservation_id, spend_event_id, api_key_id, actor_id
    )
    select
      ${organizationId}, 'ent_' || ulid, at, 'settlement', ${spendAccountId(organizationId)},
      ${providerAccountId(organizationId, "openai")}, 1000, 'req_' || ulid, 'rsv_' || ulid,
      'spe_' || ulid, ${apiKeyId}, ${employeeId}
    from made
  `;
}

/** Last in the transaction: the fillers share the row of a day. */
async function insertUsage(sql: Queryable, payer: Payer, span: Span): Promise<void> {
  await sql`
    insert into usage_daily as d (
      organization_id, usage_on, team_id, project_id, api_key_id, provider, model, usage_source,
      calls, input_tokens, output_tokens, cost_nano_usd
    )
    select
      ${payer.organizationId},
      (to_timestamp((${span.startMs}::bigint + (n * ${span.stepMs}::float8)::bigint) / 1000.0)
        at time zone 'UTC')::date as usage_on,
      ${payer.teamId}, '', ${payer.apiKeyId}, 'openai', 'gpt-4o-mini', 'provider',
      count(*), 230 * count(*), 48 * count(*), 1000 * count(*)
    from generate_series(${span.fromRow}::int, ${span.toRow}::int) n
    group by usage_on
    order by usage_on
    on conflict on constraint usage_daily_pkey do update
    set
      calls = d.calls + excluded.calls,
      input_tokens = d.input_tokens + excluded.input_tokens,
      output_tokens = d.output_tokens + excluded.output_tokens,
      cost_nano_usd = d.cost_nano_usd + excluded.cost_nano_usd
  `;
}

/** Otherwise the node would seal them while it is measured. */
async function sealAll(sql: Sql): Promise<void> {
  while ((await sealLedger(sql, systemClock)) > 0) {
    // A run seals two million at most.
  }
}

async function report(
  sql: Sql,
  filled: number,
  rows: number,
  startedMs: number,
  log: Log,
): Promise<void> {
  const [{ bytes }] = await sql<[{ bytes: bigint }]>`
    select pg_database_size(current_database()) as bytes
  `;
  const perSecond = filled / ((performance.now() - startedMs) / 1000);
  const gib = Number(bytes) / GIBIBYTE;
  log(`filled ${filled} of ${rows}, ${perSecond.toFixed(0)} rows/s, ${gib.toFixed(1)} GiB`);
}
