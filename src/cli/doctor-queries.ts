/** What `spendra doctor` asks the database. */
import type { Sql } from "../database/client.ts";

export type ServerFacts = {
  versionNumber: number;
  version: string;
  now: Date;
  user: string;
  /** Null when no schema of the search path exists. */
  schema: string | null;
  mayCreate: boolean;
  /** Of Spendra's tables, where they are there already. */
  isOwner: boolean;
  isReadOnly: boolean;
  fsync: string;
  synchronousCommit: string;
  fullPageWrites: string;
};

export async function serverFacts(sql: Sql): Promise<ServerFacts> {
  const [row] = await sql<[ServerFacts]>`
    -- name: doctor.server_facts
    select
      current_setting('server_version_num')::int as "versionNumber",
      current_setting('server_version') as version,
      clock_timestamp() as now,
      current_user::text as user,
      current_schema()::text as schema,
      coalesce(has_schema_privilege(current_schema(), 'create'), false) as "mayCreate",
      coalesce(
        (
          select pg_has_role(c.relowner, 'usage')
          from pg_class c
          where c.oid = to_regclass('schema_migrations')
        ),
        true
      ) as "isOwner",
      pg_is_in_recovery() or current_setting('transaction_read_only') = 'on' as "isReadOnly",
      current_setting('fsync') as fsync,
      current_setting('synchronous_commit') as "synchronousCommit",
      current_setting('full_page_writes') as "fullPageWrites"
  `;
  return row;
}

export async function serverTime(sql: Sql): Promise<Date> {
  const [row] = await sql<[{ now: Date }]>`
    -- name: doctor.server_time
    select clock_timestamp() as now
  `;
  return row.now;
}

/** The settings that active provider accounts refer to. */
export async function providerSecretNamesInUse(sql: Sql): Promise<readonly string[]> {
  const rows = await sql<{ name: string }[]>`
    -- name: provider_accounts.secret_names
    select distinct secret_name as name
    from provider_accounts
    where archived_at is null
    order by secret_name
    limit 100
  `;
  return rows.map(({ name }) => name);
}
