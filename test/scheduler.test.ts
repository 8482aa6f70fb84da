/** Jobs: each slot once on any number of nodes, and every end of a run on record. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { Cron } from "croner";
import type { Clock } from "../src/clock.ts";
import { connect } from "../src/database/client.ts";
import { type LogFields, openLog } from "../src/log.ts";
import { createMetrics } from "../src/metrics.ts";
import type { Writer } from "../src/reservations/writer.ts";
import type { Job } from "../src/scheduler/job.ts";
import { jobs } from "../src/scheduler/job-table.ts";
import { forgetJobRuns } from "../src/scheduler/jobs/forget-job-runs.ts";
import { runSlot, startScheduler } from "../src/scheduler/scheduler.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";

const SLOT = new Date("2026-11-21T12:00:00Z");
const NOW = new Date("2026-11-21T12:00:00.250Z");
const DAY_MS = 24 * 60 * 60_000;

type JobRun = {
  job: string;
  slot_at: Date;
  node_id: string;
  status: string;
  finished_at: Date | null;
  processed_count: number | null;
  error: string | null;
};

let database: TestDatabase;
let lines: (LogFields & { event: string; level: string })[] = [];

beforeAll(async () => {
  database = await testDatabase();
});

beforeEach(async () => {
  await database.sql`delete from job_runs`;
  lines = [];
});

afterAll(async () => {
  await database.drop();
});

function clockAt(now: Date): Clock {
  return { now: () => now, monotonicMs: () => performance.now() };
}

function node(nodeId: string, fields: { now?: Date; jobs?: readonly Job[] } = {}) {
  const log = openLog("debug", { write: (line) => lines.push(JSON.parse(line) as never) });
  return {
    jobs: fields.jobs ?? [],
    // None of the jobs here writes money.
    parts: { sql: database.sql, writer: {} as Writer, clock: clockAt(fields.now ?? NOW), log },
    nodeId,
    log,
    metrics: createMetrics(),
  };
}

function jobOf(run: Job["run"], fields: Partial<Job> = {}): Job {
  return { name: "test_job", pattern: "* * * * * *", timeoutMs: 30_000, run, ...fields };
}

async function runs(): Promise<JobRun[]> {
  return [
    ...(await database.sql<JobRun[]>`
      select job, slot_at, node_id, status, finished_at, processed_count, error
      from job_runs order by slot_at, job
    `),
  ];
}

describe("a slot", () => {
  test("that fails is on record, without secrets and not endless", async () => {
    const message = `canary sk-proj-canary0123456789 ${"x".repeat(10_000)}`;
    await runSlot(
      jobOf(() => Promise.reject(new Error(message))),
      SLOT,
      node("nod_1"),
    );
    const [run] = await runs();
    expect(run).toMatchObject({ status: "error", finished_at: NOW, processed_count: null });
    expect(run?.error).toStartWith("Error: canary [secret] xxx");
    expect(run?.error?.length).toBeLessThanOrEqual(500);
    expect(lines).toMatchObject([{ level: "error", event: "job.run", errorClass: "error" }]);
  });

  test("that fails before it begins to wait is on record too", async () => {
    const job = jobOf(() => {
      throw new Error("at once");
    });
    await runSlot(job, SLOT, node("nod_1"));
    expect(await runs()).toMatchObject([{ status: "error", error: "Error: at once" }]);
  });

  test("that hangs is on record as timed out, and its late end changes nothing", async () => {
    const hanging = Promise.withResolvers<number>();
    await runSlot(
      jobOf(() => hanging.promise, { timeoutMs: 1 }),
      SLOT,
      node("nod_1"),
    );
    const timedOut = { status: "timeout", finished_at: NOW, processed_count: null, error: null };
    expect(await runs()).toMatchObject([timedOut]);
    hanging.resolve(7);
    await hanging.promise;
    expect(await runs()).toMatchObject([timedOut]);
    // The next slot may run.
    await runSlot(
      jobOf(async () => 3),
      new Date(SLOT.getTime() + 1000),
      node("nod_1"),
    );
    expect(await runs()).toMatchObject([timedOut, { status: "ok", processed_count: 3 }]);
  });

  test("that times out and then fails disturbs nobody", async () => {
    const hanging = Promise.withResolvers<number>();
    await runSlot(
      jobOf(() => hanging.promise, { timeoutMs: 1 }),
      SLOT,
      node("nod_1"),
    );
    hanging.reject(new Error("too late"));
    await hanging.promise.catch(() => {});
    expect(await runs()).toMatchObject([{ status: "timeout", error: null }]);
  });

  test("without a database is a line in the log, and never an exception", async () => {
    const closed = connect(database.url, { connectionsMax: 1, applicationName: "closed" });
    await closed.end();
    const { parts, ...rest } = node("nod_1");
    let count = 0;
    const job = jobOf(async () => ++count);
    await runSlot(job, SLOT, { ...rest, parts: { ...parts, sql: closed } });
    expect(count).toBe(0);
    expect(lines).toMatchObject([{ level: "error", event: "job.run", errorClass: "unclaimed" }]);
  });

  test("runs once on fifty nodes that all want it", async () => {
    let count = 0;
    const job = jobOf(async () => ++count);
    const nodes = Array.from({ length: 50 }, (_, index) => node(`nod_${index}`));
    await Promise.all(nodes.map((one) => runSlot(job, SLOT, one)));
    expect(count).toBe(1);
    expect(await runs()).toMatchObject([
      { job: "test_job", slot_at: SLOT, status: "ok", processed_count: 1, error: null },
    ]);
    await runSlot(job, SLOT, node("nod_late"));
    expect(count).toBe(1);
  });

  test("of one job is not taken by another job or another slot", async () => {
    const ran: string[] = [];
    const named = (name: string) => jobOf(async () => ran.push(name), { name });
    const next = new Date(SLOT.getTime() + 1);
    await Promise.all([
      runSlot(named("a"), SLOT, node("nod_1")),
      runSlot(named("b"), SLOT, node("nod_2")),
      runSlot(named("a"), next, node("nod_3")),
    ]);
    expect(ran.toSorted()).toEqual(["a", "a", "b"]);
    expect(await runs()).toHaveLength(3);
  });
});

describe("the scheduler", () => {
  test.each([
    ["2026-11-21T12:00:07.000Z", "2026-11-21T12:00:07.000Z"],
    ["2026-11-21T12:00:07.004Z", "2026-11-21T12:00:07.000Z"],
    ["2026-11-21T12:00:07.999Z", "2026-11-21T12:00:07.000Z"],
  ])("that fires at %s runs the slot planned for %s", async (now, planned) => {
    const ran = Promise.withResolvers<void>();
    const job = jobOf(async () => {
      ran.resolve();
      return 1;
    });
    const scheduler = startScheduler(node("nod_1", { jobs: [job], now: new Date(now) }));
    await ran.promise;
    await scheduler.stop();
    expect((await runs()).map((run) => run.slot_at.toISOString())).toEqual([planned]);
  });

  test("runs each slot once on three nodes that fire together, and ends it", async () => {
    let count = 0;
    const ran = Promise.withResolvers<void>();
    const job = jobOf(async () => {
      count++;
      ran.resolve();
      return 1;
    });
    const nodes = ["nod_1", "nod_2", "nod_3"].map((nodeId) =>
      startScheduler(node(nodeId, { jobs: [job] })),
    );
    await ran.promise;
    await Promise.all(nodes.map((scheduler) => scheduler.stop()));
    expect(count).toBe(1);
    expect(await runs()).toMatchObject([{ status: "ok", slot_at: SLOT }]);
  });

  test("stops only when the run under way has ended, and fires no more", async () => {
    const begun = Promise.withResolvers<void>();
    const end = Promise.withResolvers<number>();
    const job = jobOf(() => {
      begun.resolve();
      return end.promise;
    });
    const scheduler = startScheduler(node("nod_1", { jobs: [job] }));
    await begun.promise;
    let isStopped = false;
    const stopping = scheduler.stop().then(() => {
      isStopped = true;
    });
    expect(await runs()).toMatchObject([{ status: "running" }]);
    expect(isStopped).toBe(false);
    end.resolve(1);
    await stopping;
    expect(await runs()).toMatchObject([{ status: "ok" }]);
  });
});

describe("the jobs", () => {
  test("have names of their own, patterns that come again, and limits", () => {
    expect(new Set(jobs.map(({ name }) => name)).size).toBe(jobs.length);
    for (const job of jobs) {
      const [first, second] = new Cron(job.pattern, { timezone: "UTC" }).nextRuns(2, SLOT);
      expect(first && second && first < second, job.name).toBe(true);
      expect(job.timeoutMs).toBeGreaterThan(0);
    }
  });

  test("forget runs after 90 days, not sooner, also those whose node died", async () => {
    const insert = async (job: string, ageMs: number, status: string) => {
      const at = new Date(NOW.getTime() - ageMs);
      await database.sql`
        insert into job_runs (job, slot_at, node_id, status, started_at, finished_at)
        values (${job}, ${at}, 'nod_1', ${status}, ${at}, ${status === "running" ? null : at})
      `;
    };
    await insert("old", 90 * DAY_MS + 1, "ok");
    await insert("old_failure", 91 * DAY_MS, "error");
    await insert("old_running", 91 * DAY_MS, "running");
    await insert("young", 90 * DAY_MS, "ok");
    expect(await forgetJobRuns.run(node("nod_1").parts)).toBe(3);
    expect((await runs()).map(({ job }) => job)).toEqual(["young"]);
  });
});
