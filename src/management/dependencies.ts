/** What the management API is made of; wired in app.ts. */
import type { Clock } from "../clock.ts";
import type { Config } from "../config.ts";
import type { Sql } from "../database/client.ts";
import type { SignInThrottle } from "../identity/sign-in-throttle.ts";
import type { Log } from "../log.ts";
import type { Settlements } from "../reservations/settlements.ts";
import type { Callers } from "./callers.ts";

/** What the parts of the API share: what app.ts gives, and what exists once an API. */
export type Dependencies = Given & {
  readonly callers: Callers;
  readonly signInThrottle: SignInThrottle;
};

export type Given = {
  readonly sql: Sql;
  readonly clock: Clock;
  readonly log: Log;
  /** Of this node. */
  readonly settlements: Pick<Settlements, "replay">;
  readonly config: Pick<
    Config,
    "publicUrl" | "allowedOrigins" | "encryptionKey" | "supabase" | "managementRequestsPerMinute"
  >;
};
