/** The connections of a node: which address each goes to, and how many there are. */
import type { Sql } from "./client.ts";
import { type DatabaseAddress, findAddress, openSql } from "./pooler.ts";

export type NodeConnections = {
  /** For everything that reads, and for management. */
  readonly reader: Sql;
  /** A pool of one connection. */
  readonly openWriter: () => Sql;
  /** To listen on; null where only a pooler is known, because nobody can listen through it. */
  readonly listener: Sql | null;
  readonly end: (timeoutSeconds: number) => Promise<void>;
};

const READER_CONNECTIONS_MAX = 6;
const WRITER_STATEMENT_TIMEOUT_MS = 5_000;

/** The two addresses of one database are those of two databases. */
export class TwoDatabasesError extends Error {
  override readonly name = "TwoDatabasesError";

  constructor() {
    super(
      "DATABASE_URL and DATABASE_DIRECT_URL are not the same database of the same server: " +
        "correct one of them, or remove DATABASE_DIRECT_URL",
    );
  }
}

/**
 * Looks how both addresses are reached, `directUrl` being null where none is set. Rejects when one
 * does not answer, and with `TwoDatabasesError`.
 */
export async function openNodeConnections(
  databaseUrl: string,
  directUrl: string | null,
): Promise<NodeConnections> {
  const shared = await findAddress(databaseUrl);
  const own = directUrl === null ? shared : await findAddress(directUrl);
  const listening = { connectionsMax: 1, applicationName: "spendra" };
  const reader = openSql(shared, {
    connectionsMax: READER_CONNECTIONS_MAX,
    applicationName: "spendra",
  });
  // The driver listens on a connection that it opens beside this pool, which stays empty.
  const listener = own.route === "direct" ? openSql(own, listening) : null;
  const end = async (timeout: number): Promise<void> => {
    await Promise.all([reader.end({ timeout }), listener?.end({ timeout })]);
  };
  try {
    await requireSameDatabase(shared, own);
  } catch (error) {
    await end(0);
    throw error;
  }
  return {
    reader,
    openWriter: () =>
      openSql(own, {
        // A second writer on the same rows bought nothing and tripled the 99th percentile.
        connectionsMax: 1,
        applicationName: "spendra writer",
        statementTimeoutMs: WRITER_STATEMENT_TIMEOUT_MS,
      }),
    listener,
    end,
  };
}

/** Throws `TwoDatabasesError`: what is booked in one must not be decided by the other. */
export async function requireSameDatabase(
  shared: DatabaseAddress,
  own: DatabaseAddress,
): Promise<void> {
  if (shared.url !== own.url && (await nameItself(shared)) !== (await nameItself(own))) {
    throw new TwoDatabasesError();
  }
}

/** Nothing that a role without special rights can read tells a server apart as well. */
async function nameItself(address: DatabaseAddress): Promise<string> {
  const sql = openSql(address, { connectionsMax: 1, applicationName: "spendra probe" });
  try {
    const [row] = await sql<[{ name: string }]>`
      -- name: database.name_itself
      select concat_ws(' ', extract(epoch from pg_postmaster_start_time()), d.oid, current_schema())
        as name
      from pg_database d
      where d.datname = current_database()
    `;
    return row.name;
  } finally {
    await sql.end({ timeout: 0 });
  }
}
