/** How `spendra doctor` says in which way the database is reached: directly or through a pooler. */
import type { ConnectionOptions, Sql } from "../database/client.ts";
import { requireSameDatabase, TwoDatabasesError } from "../database/node-connections.ts";
import { type DatabaseAddress, findAddress, openSql } from "../database/pooler.ts";
import { nameDatabase } from "./database-problem.ts";
import { fail, ok, type Result, warn } from "./doctor-check.ts";

/** A pool on an address, and how the address is reached. Rejects when it does not answer. */
export async function openExamined(
  databaseUrl: string,
  options: ConnectionOptions & { connectTimeoutMs: number },
): Promise<{ address: DatabaseAddress; sql: Sql }> {
  const address = await findAddress(databaseUrl, options);
  return { address, sql: openSql(address, options) };
}

/** `directUrl` is null where none is set. */
export async function examineRoute(
  shared: DatabaseAddress,
  directUrl: string | null,
  options: { connectTimeoutMs: number },
): Promise<Result> {
  if (directUrl === null) {
    return shared.route === "direct"
      ? ok("directly to PostgreSQL")
      : warn(
          "through a pooler: each statement takes three round trips more",
          "Set DATABASE_DIRECT_URL to PostgreSQL's own address, for the writer and for migrations.",
        );
  }
  const own = await findAddress(directUrl, options);
  try {
    await requireSameDatabase(shared, own);
  } catch (error) {
    if (error instanceof TwoDatabasesError) {
      return fail(error.message, "Compare host, port and database of the two.");
    }
    throw error;
  }
  if (own.route === "pooler") {
    return warn(
      "DATABASE_DIRECT_URL goes through a pooler as well",
      "Set it to PostgreSQL's own address, or remove it.",
    );
  }
  const what = shared.route === "pooler" ? "through a pooler" : "directly";
  return ok(`${what}; writer and migrations directly to ${nameDatabase(directUrl)}`);
}
