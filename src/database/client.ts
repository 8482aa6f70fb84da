/**
 * Connections to PostgreSQL. Small and fixed pools, each with time limits on the server's side, so
 * that no statement can hold a lock or a caller for longer than is written here.
 */
import postgres from "postgres";
import { type Limits, limitTransactions } from "./limits.ts";

/** How the driver's types map: PostgreSQL `bigint` to `bigint`, `date` to `YYYY-MM-DD` text. */
type DriverTypes = { bigint: bigint; calendarDate: string };
type DriverTypeOptions = { [Name in keyof DriverTypes]: postgres.PostgresType<DriverTypes[Name]> };

export type Sql = postgres.Sql<DriverTypes>;
/** A connection inside a transaction. Everything that only runs statements accepts both. */
export type Transaction = postgres.TransactionSql<DriverTypes>;
export type Queryable = Sql | Transaction;

/** How an address is reached: PostgreSQL itself, or a pooler that lends its connections. */
export type Route = "direct" | "pooler";

export type ConnectionOptions = {
  /** How many connections the pool may open. */
  connectionsMax: number;
  /** Shows in `pg_stat_activity`. */
  applicationName: string;
  statementTimeoutMs?: number;
  lockTimeoutMs?: number;
  connectTimeoutMs?: number;
};

const STATEMENT_TIMEOUT_MS = 10_000;
const LOCK_TIMEOUT_MS = 2_000;
const CONNECT_TIMEOUT_MS = 5_000;
const RECONNECT_DELAY_MAX_SECONDS = 2;
const BIGINT_OID = 20;
const DATE_OID = 1082;

/**
 * Opens a pool. `bigint` columns come as `bigint`, `date` columns as `YYYY-MM-DD` text. Connects
 * lazily: a wrong address shows at the first statement. Through a pooler nothing is left in a
 * session, neither settings nor prepared statements; the limits are those of transactions then, and
 * `openSql` gives each statement one.
 */
export function connect(
  databaseUrl: string,
  options: ConnectionOptions,
  route: Route = "direct",
): Sql {
  const limits: Limits = {
    statement_timeout: options.statementTimeoutMs ?? STATEMENT_TIMEOUT_MS,
    lock_timeout: options.lockTimeoutMs ?? LOCK_TIMEOUT_MS,
    idle_in_transaction_session_timeout: STATEMENT_TIMEOUT_MS,
  };
  const sql = postgres<DriverTypeOptions>(databaseUrl, {
    max: options.connectionsMax,
    connect_timeout: (options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS) / 1000,
    backoff: (attempt: number) => Math.min(0.05 * 2 ** attempt, RECONNECT_DELAY_MAX_SECONDS),
    prepare: route === "direct",
    connection: {
      application_name: options.applicationName,
      ...(route === "direct" ? limits : {}),
    },
    types: {
      bigint: {
        to: BIGINT_OID,
        from: [BIGINT_OID],
        serialize: (value: bigint) => value.toString(),
        parse: (text: string) => BigInt(text),
      },
      calendarDate: {
        to: DATE_OID,
        from: [DATE_OID],
        serialize: (value: string) => value,
        parse: (text: string) => text,
      },
    },
    // Notices are for people at a terminal; the server's own log keeps them.
    onnotice: () => {},
  });
  if (route === "pooler") {
    limitTransactions(sql, limits);
  }
  return sql;
}
