/** SQL that says who may be writing into a table. */
import type { Sql } from "./client.ts";

/**
 * Transactions that may be inserting into the table or one of its partitions, by name: each holds
 * this lock before it takes a number from a sequence, and until it is over.
 */
export async function tableWriterList(sql: Sql, table: string): Promise<readonly string[]> {
  const rows = await sql<{ writer: string }[]>`
    -- name: tables.writers
    select distinct virtualtransaction as writer
    from pg_locks
    where locktype = 'relation'
      and mode = 'RowExclusiveLock'
      and database = (select oid from pg_database where datname = current_database())
      and (
        relation = ${table}::text::regclass
        -- Of a table that has no partitions this answers nothing, not even the table.
        or relation in (select relid from pg_partition_tree(${table}::text::regclass))
      )
  `;
  return rows.map((row) => row.writer);
}
