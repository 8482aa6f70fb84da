/** Deletes windows of rate limits that ended a day ago: not money, and nobody reads them. */
import { rateWindowDeleteEndedBefore } from "../../budgets/queries.ts";
import type { Job } from "../job.ts";

const KEEP_MS = 24 * 60 * 60_000;

export const forgetRateWindows: Job = {
  name: "forget_rate_windows",
  pattern: "0 17 * * * *",
  timeoutMs: 60_000,
  run: ({ sql, clock }) =>
    rateWindowDeleteEndedBefore(sql, new Date(clock.now().getTime() - KEEP_MS)),
};
