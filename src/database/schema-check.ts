/** Whether the database is at exactly the schema of this build. */
import type { Sql } from "./client.ts";
import { MigrationError, planMigrations } from "./migrator.ts";

/** Throws `MigrationError` that says what to run. */
export async function requireCurrentSchema(sql: Sql): Promise<void> {
  const { pending } = await planMigrations(sql);
  if (pending.length > 0) {
    throw new MigrationError(
      `the database is ${pending.length} migration(s) behind this build ` +
        `(next: ${pending[0]}): run \`spendra migrate\` first`,
    );
  }
}
