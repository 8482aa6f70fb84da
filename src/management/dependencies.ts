/** What the management API is made of; wired in app.ts. */
import type { Clock } from "../clock.ts";
import type { Config } from "../config.ts";
import type { Sql } from "../database/client.ts";
import type { Log } from "../log.ts";
import type { Settlements } from "../reservations/settlements.ts";

export type Dependencies = {
  readonly sql: Sql;
  readonly clock: Clock;
  readonly log: Log;
  /** Of this node. */
  readonly settlements: Pick<Settlements, "replay">;
  readonly config: Pick<Config, "publicUrl" | "allowedOrigins" | "encryptionKey">;
};
