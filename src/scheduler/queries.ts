/** The statements of the scheduler: a slot is claimed by inserting its row. */
import type { Queryable } from "../database/client.ts";

export type RunStatus = "ok" | "error" | "timeout";

/** Answers whether this node has the slot; false when another one had it first. */
export async function jobRunClaim(
  sql: Queryable,
  run: { job: string; slotAt: Date; nodeId: string; startedAt: Date },
): Promise<boolean> {
  const claimed = await sql`
    -- name: job_runs.claim
    insert into job_runs (job, slot_at, node_id, started_at)
    values (${run.job}, ${run.slotAt}, ${run.nodeId}, ${run.startedAt})
    on conflict do nothing
    returning job
  `;
  return claimed.length === 1;
}

export async function jobRunFinish(
  sql: Queryable,
  run: {
    job: string;
    slotAt: Date;
    status: RunStatus;
    finishedAt: Date;
    processedCount: number | null;
    error: string | null;
  },
): Promise<void> {
  await sql`
    -- name: job_runs.finish
    update job_runs
    set
      status = ${run.status},
      finished_at = ${run.finishedAt},
      processed_count = ${run.processedCount},
      error = ${run.error}
    where job = ${run.job} and slot_at = ${run.slotAt} and status = 'running'
  `;
}

/** Rows are kept for 90 days, also of runs whose node died; the table would fill up otherwise. */
export async function jobRunDeleteBefore(sql: Queryable, before: Date): Promise<number> {
  const deleted = await sql`
    -- name: job_runs.delete_before
    delete from job_runs where started_at < ${before}
  `;
  return deleted.count;
}
