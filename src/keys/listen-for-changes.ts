/**
 * Hears of changes to keys, budgets, policies and the hierarchy (migrations 0004 and 0007), and
 * forgets what was remembered of that organization. After a lost connection everything is
 * forgotten, because notifications of that time are lost too.
 */
import type { Sql } from "../database/client.ts";
import type { Authenticator } from "./authenticate.ts";

const CHANNEL = "spendra_authority";

/** Resolves once it listens. The driver listens again after each reconnect. */
export async function listenForChanges(
  sql: Sql,
  authenticator: Authenticator,
): Promise<{ stop(): Promise<void> }> {
  const listening = await sql.listen(
    CHANNEL,
    (organizationId) => authenticator.forgetOrganization(organizationId),
    () => authenticator.forgetAll(),
  );
  return { stop: () => listening.unlisten() };
}
