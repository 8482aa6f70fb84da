/** Every job there is. */
import type { Job } from "./job.ts";
import { expireReservations } from "./jobs/expire-reservations.ts";
import { forgetJobRuns } from "./jobs/forget-job-runs.ts";
import { forgetRateWindows } from "./jobs/forget-rate-windows.ts";
import { openMonthPartitions } from "./jobs/open-partitions.ts";
import { proveLedger } from "./jobs/prove-ledger.ts";
import { raiseAlerts } from "./jobs/raise-alerts.ts";
import { sealAuditEvents } from "./jobs/seal-audit.ts";
import { sealLedgerEntries } from "./jobs/seal-ledger.ts";

export const jobs: readonly Job[] = [
  expireReservations,
  forgetJobRuns,
  forgetRateWindows,
  openMonthPartitions,
  proveLedger,
  raiseAlerts,
  sealAuditEvents,
  sealLedgerEntries,
];
