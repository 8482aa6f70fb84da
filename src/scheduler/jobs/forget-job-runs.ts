/** Deletes the records of job runs that are older than 90 days. */
import type { Job } from "../job.ts";
import { jobRunDeleteBefore } from "../queries.ts";

const KEEP_MS = 90 * 24 * 60 * 60_000;

export const forgetJobRuns: Job = {
  name: "forget_job_runs",
  pattern: "0 41 3 * * *",
  timeoutMs: 60_000,
  run: ({ sql, clock }) => jobRunDeleteBefore(sql, new Date(clock.now().getTime() - KEEP_MS)),
};
