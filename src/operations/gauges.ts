/** Brings up to date what is measured in the database, whenever somebody reads the metrics. */
import { waitAtMost } from "../clock.ts";
import type { Sql } from "../database/client.ts";
import { ledgerDriftNewest } from "../ledger/queries.ts";
import type { Metrics } from "../metrics.ts";
import { countWaiting } from "../notifications/outbox.ts";

/** Metrics are read most when the database is away or hangs: the others must be answered then. */
const MEASURE_TIMEOUT_MS = 1_000;

/** Never rejects: what cannot be measured in time is not a number, and never zero. */
export async function refreshGauges(sql: Sql, metrics: Metrics): Promise<void> {
  const { outboxWaiting, ledgerDriftNanoUsd } = metrics;
  let isMeasured = false;
  const measured = Promise.all([countWaiting(sql), ledgerDriftNewest(sql)]).then(
    ([waiting, driftNanoUsd]) => {
      outboxWaiting.set(waiting);
      ledgerDriftNanoUsd.set(driftNanoUsd);
      isMeasured = true;
    },
    () => {
      // Told by the gauges below.
    },
  );
  await waitAtMost(measured, MEASURE_TIMEOUT_MS);
  if (!isMeasured) {
    outboxWaiting.set(Number.NaN);
    ledgerDriftNanoUsd.set(Number.NaN);
  }
}
