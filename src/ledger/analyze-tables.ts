/**
 * After a restore or a bulk load the planner takes full tables for empty until the server comes by
 * to count, and a proof that takes half a second then takes minutes. So the proofs count first.
 */
import type { Sql } from "../database/client.ts";

const TABLES = ["reservations", "budget_windows", "usage_daily", "spend_events", "ledger_entries"];

/** Counts the tables of the books that hold rows and were never counted. Answers their names. */
export async function analyzeUncounted(sql: Sql): Promise<readonly string[]> {
  const tables = await sql<{ name: string }[]>`
    -- name: ledger.uncounted_tables
    select c.relname as name
    from pg_class c
    left join pg_inherits i on i.inhrelid = c.oid
    left join pg_class parent on parent.oid = i.inhparent
    where c.relnamespace = current_schema()::regnamespace
      and c.relkind = 'r'
      and coalesce(parent.relname, c.relname) = any(${TABLES})
      and c.reltuples < 0
      and pg_relation_size(c.oid) > 0
      -- A replica has the counts of its primary.
      and not pg_is_in_recovery()
    order by c.relname
  `;
  const names = tables.map(({ name }) => name);
  for (const name of names) {
    await sql`analyze ${sql(name)}`;
  }
  return names;
}
