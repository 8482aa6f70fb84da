/**
 * Runs jobs at their time. Every node fires; the one that inserts the slot's row into `job_runs`
 * does the work, so that any number of nodes run each slot once.
 */
import { Cron } from "croner";
import { withTimeout } from "../clock.ts";
import type { Log } from "../log.ts";
import { maskSecrets } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import type { Job, JobParts } from "./job.ts";
import { jobRunClaim, jobRunFinish, type RunStatus } from "./queries.ts";

export type Scheduler = {
  /** Fires no more; resolves when the runs under way have ended. */
  stop(): Promise<void>;
};

type SchedulerOptions = {
  jobs: readonly Job[];
  parts: JobParts;
  nodeId: string;
  log: Log;
  metrics: Metrics;
};

type RunResult = { status: RunStatus; processedCount: number | null; error: string | null };

const ERROR_CHARACTERS_MAX = 500;

export function startScheduler(options: SchedulerOptions): Scheduler {
  const running = new Set<Promise<void>>();
  const timers = options.jobs.map(
    (job) =>
      new Cron(job.pattern, { timezone: "UTC", protect: true }, async (cron) => {
        const run = runSlot(job, slotOf(cron, options.parts.clock.now()), options);
        running.add(run);
        await run.finally(() => running.delete(run));
      }),
  );
  return {
    async stop() {
      for (const timer of timers) {
        timer.stop();
      }
      await Promise.all(running);
    },
  };
}

/** Runs one slot of a job if this node gets it. Never rejects: a failed run is a row and a line. */
export async function runSlot(job: Job, slotAt: Date, options: SchedulerOptions): Promise<void> {
  const { parts, nodeId, log, metrics } = options;
  const startedMs = parts.clock.monotonicMs();
  try {
    const startedAt = parts.clock.now();
    if (!(await jobRunClaim(parts.sql, { job: job.name, slotAt, nodeId, startedAt }))) {
      return;
    }
    const result = await runWithTimeout(job, parts);
    const finishedAt = parts.clock.now();
    await jobRunFinish(parts.sql, { job: job.name, slotAt, finishedAt, ...result });
    metrics.jobRuns.inc({ job: job.name, status: result.status });
    const durationMs = Math.round(parts.clock.monotonicMs() - startedMs);
    const fields = { job: job.name, durationMs, count: result.processedCount ?? 0 };
    if (result.status === "ok") {
      log.debug("job.run", fields);
    } else {
      log.error("job.run", { ...fields, errorClass: result.status });
    }
  } catch (error) {
    metrics.jobRuns.inc({ job: job.name, status: "error" });
    log.error("job.run", { job: job.name, errorClass: "unclaimed", error });
  }
}

async function runWithTimeout(job: Job, parts: JobParts): Promise<RunResult> {
  const finished = Promise.try(() => job.run(parts)).then(
    (processedCount): RunResult => ({ status: "ok", processedCount, error: null }),
    (thrown: unknown): RunResult => ({
      status: "error",
      processedCount: null,
      error: maskSecrets(String(thrown)).slice(0, ERROR_CHARACTERS_MAX),
    }),
  );
  return await withTimeout(finished, job.timeoutMs, () => ({
    status: "timeout",
    processedCount: null,
    error: null,
  }));
}

/** The planned instant, not the one at which the timer fired: all nodes must name one slot. */
function slotOf(cron: Cron, now: Date): Date {
  const [planned] = cron.previousRuns(1, new Date(now.getTime() + 1));
  return planned ?? now;
}
