/** (d) A book with many entries: what a settled call leaves behind, a great many times. */
import type { Sql } from "../../src/database/client.ts";
import { providerAccountId, spendAccountId } from "../../src/ledger/account.ts";

type Payer = { organizationId: string; apiKeyId: string; employeeId: string };

/** One statement inserts this many, to stay below the statement timeout. */
const ROWS_A_STATEMENT = 20_000;

/** Fills up to `rows` settled calls of 1 micro-dollar, numbered; `present` are there already. */
export async function fillLedger(sql: Sql, payer: Payer, rows: number, present = 0): Promise<void> {
  const at = new Date();
  for (let from = present; from < rows; from += ROWS_A_STATEMENT) {
    const to = Math.min(from + ROWS_A_STATEMENT, rows) - 1;
    await sql.begin(async (transaction) => {
      await transaction`
        insert into reservations (
          organization_id, id, request_id, api_key_id, actor_id, provider, model, route,
          amount_nano_usd, window_ids, prompt_tokens_max, completion_tokens_max, price_version,
          status, node_id, reserved_at, deadline_at, settled_at, ended_at, cost_nano_usd
        )
        select
          ${payer.organizationId}, 'rsv_00FILL' || n, 'req_00FILL' || n, ${payer.apiKeyId},
          ${payer.employeeId}, 'openai', 'gpt-4o-mini', '/v1/chat/completions',
          1000, array['win_fill'], 10, 10, 'bench',
          'settled', 'nod_fill', ${at}, ${at}, ${at}, ${at}, 1000
        from generate_series(${from}::int, ${to}::int) n
      `;
      await transaction`
        insert into spend_events (
          organization_id, id, occurred_at, reservation_id, request_id, api_key_id, provider,
          model, usage_source, price_version, cost_nano_usd, is_overage
        )
        select
          ${payer.organizationId}, 'spe_00FILL' || n, ${at}::timestamptz, 'rsv_00FILL' || n,
          'req_00FILL' || n, ${payer.apiKeyId}, 'openai', 'gpt-4o-mini', 'provider', 'bench',
          1000, false
        from generate_series(${from}::int, ${to}::int) n
      `;
      await transaction`
        insert into ledger_entries (
          organization_id, id, occurred_at, kind, debit_account_id, credit_account_id,
          amount_nano_usd, request_id, reservation_id, spend_event_id, api_key_id, actor_id
        )
        select
          ${payer.organizationId}, 'ent_00FILL' || n, ${at}::timestamptz, 'settlement',
          ${spendAccountId(payer.organizationId)},
          ${providerAccountId(payer.organizationId, "openai")}, 1000, 'req_00FILL' || n,
          'rsv_00FILL' || n, 'spe_00FILL' || n, ${payer.apiKeyId}, ${payer.employeeId}
        from generate_series(${from}::int, ${to}::int) n
      `;
    });
  }
}
