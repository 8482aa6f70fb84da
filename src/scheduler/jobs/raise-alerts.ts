/**
 * Raises alerts for what the database tells, and resolves those whose cause is gone. Budgets whose
 * temporary increase is over fall back first, so that their alerts go by the right limit.
 */
import { endLapsedIncreases } from "../../budgets/increase.ts";
import { matchAlerts } from "../../notifications/alert.ts";
import { DATABASE_KINDS, findCauses } from "../../notifications/find-causes.ts";
import type { Job } from "../job.ts";

export const raiseAlerts: Job = {
  name: "raise_alerts",
  pattern: "*/30 * * * * *",
  timeoutMs: 60_000,
  run: async ({ sql, clock, log }) => {
    const now = clock.now();
    const fallenBackCount = await endLapsedIncreases(sql, now, null);
    const findings = await findCauses(sql, now);
    const search = { kinds: DATABASE_KINDS, nodeId: null };
    return fallenBackCount + (await matchAlerts({ sql, log, now }, search, findings));
  },
};
