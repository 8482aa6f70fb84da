/**
 * Through a connection pooler that lends a connection for one transaction at a time. Decision 0015.
 *
 * Nothing may be left in a session there: it is somebody else's a moment later. So limits are set
 * in each transaction, nothing is prepared, and nobody listens. What holds for money does not
 * depend on it: a batch is one statement, and epochs are compared in it.
 */
import { withTimeout } from "../clock.ts";
import { type ConnectionOptions, connect, type Route, type Sql } from "./client.ts";
import { inTransaction } from "./transaction.ts";

/** Where a database is, and how it is reached. */
export type DatabaseAddress = { readonly url: string; readonly route: Route };

const PROBE_TIMEOUT_MS = 5_000;

/** PostgreSQL has taken the connection and does not answer on it. */
class SilentDatabaseError extends Error {
  override readonly name = "SilentDatabaseError";
  readonly code = "ETIMEDOUT";

  constructor() {
    super(`the database has not answered for ${PROBE_TIMEOUT_MS} ms`);
  }
}

/**
 * Connects once and looks who answers. PostgreSQL says the number of its process when a connection
 * is made, for cancelling; whoever stands in between and shares connections must say another one,
 * because the process differs from one transaction to the next.
 */
export async function findAddress(
  databaseUrl: string,
  options: { connectTimeoutMs?: number } = {},
): Promise<DatabaseAddress> {
  const once = { ...options, connectionsMax: 1, applicationName: "spendra probe" };
  // What a pooler takes, PostgreSQL takes as well.
  const sql = connect(databaseUrl, once, "pooler");
  try {
    const answered = sql.unsafe<[{ pid: number }]>("select pg_backend_pid() as pid");
    const rows = await withTimeout(answered, PROBE_TIMEOUT_MS, () => {
      throw new SilentDatabaseError();
    });
    return { url: databaseUrl, route: rows[0].pid === rows.state.pid ? "direct" : "pooler" };
  } finally {
    await sql.end({ timeout: 0 });
  }
}

/** Opens a pool on an address whose route is known. Connects lazily. */
export function openSql({ url, route }: DatabaseAddress, options: ConnectionOptions): Sql {
  const sql = connect(url, options, route);
  return route === "direct" ? sql : inOwnTransactions(sql);
}

/** Finds the route and opens a pool. Rejects when the database does not answer. */
export async function connectEitherWay(
  databaseUrl: string,
  options: ConnectionOptions,
): Promise<Sql> {
  const { connectTimeoutMs } = options;
  const probe = connectTimeoutMs === undefined ? {} : { connectTimeoutMs };
  return openSql(await findAddress(databaseUrl, probe), options);
}

/** Once there and back and nothing else, in either way. */
export async function crossOnce(sql: Sql): Promise<void> {
  await sql.unsafe("select");
}

/** A statement of the driver: a promise that asks `handler` to run it once somebody waits. */
type Statement = Promise<unknown> & {
  handler: () => void;
  resolve: (rows: unknown) => void;
  reject: (error: unknown) => void;
};

/** Each statement in a transaction of its own, which begins with the pool's limits. */
function inOwnTransactions(sql: Sql): Sql {
  return new Proxy(sql, {
    apply: (target, self, words) => {
      const made: unknown = Reflect.apply(target, self, words);
      // Identifiers and lists are no statements; what is part of one is never asked to run.
      if (made instanceof Promise) {
        const statement = made as Statement;
        statement.handler = () => {
          inTransaction(target, async (transaction): Promise<unknown> => {
            return await (Reflect.apply(transaction, self, words) as Promise<unknown>);
          }).then(statement.resolve, statement.reject);
        };
      }
      return made;
    },
  });
}
