/** What a request needs of the rest of the program. Put together in app.ts. */
import type { PriceBook } from "../catalog/model-price.ts";
import type { Clock } from "../clock.ts";
import type { Sql } from "../database/client.ts";
import type { Authenticator } from "../keys/authenticate.ts";
import type { Log } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import type { Provider } from "../providers/provider.ts";
import type { Writer } from "../reservations/writer.ts";
import type { Secret } from "../secret.ts";
import type { DrainLimits } from "./drain-stream.ts";
import type { RunningCalls } from "./running-calls.ts";

export type GatewayParts = {
  /** For look-ups off the common way. */
  readonly sql: Sql;
  readonly authenticator: Authenticator;
  readonly priceBook: PriceBook;
  readonly providers: ReadonlyMap<string, Provider>;
  readonly providerSecrets: ReadonlyMap<string, Secret>;
  readonly writer: Writer;
  readonly running: RunningCalls;
  /** How far a stream is read on when its caller has gone. */
  readonly drainLimits: DrainLimits;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly nodeId: string;
  /** True from SIGTERM on: no new call is taken. */
  readonly isDraining: () => boolean;
};
