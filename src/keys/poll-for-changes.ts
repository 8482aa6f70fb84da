/**
 * Hears of changes where nobody can listen: through a pooler. Asks twice a second whether the keys
 * in memory are still what the database has, by their epochs, and forgets those that are not. As
 * with notifications, what is remembered for too long is stale, never dangerous: the reserve
 * statement compares the epochs itself.
 */
import type { Sql } from "../database/client.ts";
import { isTransient } from "../database/sqlstate.ts";
import type { Log } from "../log.ts";
import type { Authenticator } from "./authenticate.ts";
import { organizationsChanged } from "./queries.ts";

/** With the question itself, a change is heard of within a second. */
const POLL_MS = 500;
/** A statement's arrays stay small, so that other work gets its turn in between. */
const KEYS_A_STATEMENT_MAX = 2_000;

/** Never rejects: while the database is away nothing is forgotten, and after it all is compared. */
export function pollForChanges(
  sql: Sql,
  authenticator: Authenticator,
  log: Log,
): { stop(): Promise<void> } {
  let running: Promise<void> = Promise.resolve();
  let isBusy = false;
  const timer = setInterval(() => {
    // A database that is slow is not asked twice at once.
    if (!isBusy) {
      isBusy = true;
      running = forgetChanged(sql, authenticator)
        .catch((error: unknown) => {
          // One that is out of reach is reported by whoever needs it.
          if (!isTransient(error)) {
            log.error("keys.poll_failed", { error });
          }
        })
        .finally(() => {
          isBusy = false;
        });
    }
  }, POLL_MS);
  return {
    stop: async () => {
      clearInterval(timer);
      await running;
    },
  };
}

async function forgetChanged(sql: Sql, authenticator: Authenticator): Promise<void> {
  const remembered = authenticator.remembered();
  for (let start = 0; start < remembered.length; start += KEYS_A_STATEMENT_MAX) {
    const keys = remembered.slice(start, start + KEYS_A_STATEMENT_MAX);
    for (const organizationId of await organizationsChanged(sql, keys)) {
      authenticator.forgetOrganization(organizationId);
    }
  }
}
