/** Raises alerts for what the database tells, and resolves those whose cause is gone. */
import { matchAlerts } from "../../notifications/alert.ts";
import { DATABASE_KINDS, findCauses } from "../../notifications/find-causes.ts";
import type { Job } from "../job.ts";

export const raiseAlerts: Job = {
  name: "raise_alerts",
  pattern: "*/30 * * * * *",
  timeoutMs: 60_000,
  run: async ({ sql, clock, log }) => {
    const now = clock.now();
    const findings = await findCauses(sql, now);
    return await matchAlerts({ sql, log, now }, { kinds: DATABASE_KINDS, nodeId: null }, findings);
  },
};
