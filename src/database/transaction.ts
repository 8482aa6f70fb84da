/**
 * Transactions. Not the driver's own `begin`: when its connection breaks half-way it still sends a
 * rollback, to a socket that is gone, and the exception of that (postgres 3.4.9, `nextWrite`) is
 * nobody's to catch and leaves the connection unusable. Here a broken connection is left alone: the
 * server has rolled back by itself, and the driver opens another one.
 */
import type { Sql, Transaction } from "./client.ts";
import { limitsAfterBegin } from "./limits.ts";
import { isConnectionLost } from "./sqlstate.ts";

type TransactionMode = "read write" | "isolation level repeatable read read only";

/** Commits when `run` resolves, rolls back and passes its error on when it rejects. */
export async function inTransaction<Result>(
  sql: Sql,
  run: (transaction: Transaction) => Promise<Result>,
  mode: TransactionMode = "read write",
): Promise<Result> {
  const connection = await sql.reserve();
  try {
    await connection.unsafe(`begin ${mode}${limitsAfterBegin(sql)}`);
    // A reserved connection has what a transaction needs: all its statements go the same way.
    const result = await run(connection as unknown as Transaction);
    await connection`commit`;
    connection.release();
    return result;
  } catch (error) {
    if (!isConnectionLost(error) && (await hasRolledBack(connection))) {
      connection.release();
    }
    throw error;
  }
}

/** False when the connection broke over it; then there is nothing to give back. */
async function hasRolledBack(connection: Sql): Promise<boolean> {
  try {
    await connection`rollback`;
    return true;
  } catch {
    return false;
  }
}
