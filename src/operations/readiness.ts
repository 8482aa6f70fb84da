/**
 * Whether this node should get traffic: each check by name, with its own time limit, all at once,
 * so that the answer comes within a second whatever hangs. A check that could not be made because
 * another one failed is `skipped`, so that the answer names the cause and nothing else.
 */
import { type Clock, withTimeout } from "../clock.ts";

export type CheckStatus = "ok" | "degraded" | "fail" | "skipped";

/** Resolves when what it stands for is good. */
export type ReadinessCheck = {
  readonly name: string;
  readonly timeoutMs: number;
  /** The name of the check without which this one can tell nothing. */
  readonly needs?: string;
  readonly run: () => Promise<void>;
};

export type ReadinessReport = {
  readonly status: "ready" | "not_ready";
  readonly checks: Readonly<Record<string, { status: CheckStatus; durationMs: number }>>;
};

type Result = { readonly status: CheckStatus; readonly durationMs: number };

/** After this long a run that never came back is given up and another one is begun. */
const RUN_SHARED_MAX_MS = 5_000;

const START_ATTEMPTS_MAX = 5;

/** Answers what reads them all. One check that fails or takes too long makes the node not ready. */
export function createReadiness(
  checks: readonly ReadinessCheck[],
  clock: Clock,
): () => Promise<ReadinessReport> {
  const shared = checks.map((check) => ({ ...check, run: shareRuns(check.run, clock) }));
  return async () => {
    const results = await Promise.all(
      shared.map(async (check) => [check.name, await runCheck(check, clock)] as const),
    );
    return reportOf(checks, new Map(results));
  };
}

/** The node would not be ready; `message` names what fails. */
export class NotReadyError extends Error {
  override readonly name = "NotReadyError";
}

/**
 * Before a node serves: throws `NotReadyError` when a check fails. On a machine that is busy
 * starting up, a first time limit is easily missed, so it is asked a few times.
 */
export async function requireReady(checks: readonly ReadinessCheck[], clock: Clock): Promise<void> {
  const read = createReadiness(checks, clock);
  let report = await read();
  for (let attempt = 1; attempt < START_ATTEMPTS_MAX && report.status !== "ready"; attempt++) {
    report = await read();
  }
  if (report.status !== "ready") {
    const failing = Object.entries(report.checks).filter(([, { status }]) => status === "fail");
    throw new NotReadyError(`not ready to serve: ${failing.map(([name]) => name).join(", ")}`);
  }
}

function reportOf(
  checks: readonly ReadinessCheck[],
  results: ReadonlyMap<string, Result>,
): ReadinessReport {
  const report = checks.map(({ name, needs }) => {
    const { status, durationMs } = results.get(name) ?? { status: "fail", durationMs: 0 };
    const isSkipped = status === "fail" && needs !== undefined && hasFailed(results.get(needs));
    return [name, { status: isSkipped ? "skipped" : status, durationMs }] as const;
  });
  const isReady = report.every(([, { status }]) => status !== "fail");
  return { status: isReady ? "ready" : "not_ready", checks: Object.fromEntries(report) };
}

function hasFailed(result: Result | undefined): boolean {
  return result?.status === "fail";
}

/** Those who ask while a run is under way wait for that one: probes must not pile up behind it. */
function shareRuns(run: () => Promise<void>, clock: Clock): () => Promise<void> {
  let latest: { startedMs: number; ended: Promise<void> } | null = null;
  return () => {
    if (latest !== null && clock.monotonicMs() - latest.startedMs < RUN_SHARED_MAX_MS) {
      return latest.ended;
    }
    const own = { startedMs: clock.monotonicMs(), ended: run() };
    latest = own;
    const forget = (): void => {
      latest = latest === own ? null : latest;
    };
    own.ended.then(forget, forget);
    return own.ended;
  };
}

async function runCheck(check: ReadinessCheck, clock: Clock): Promise<Result> {
  const startedMs = clock.monotonicMs();
  const outcome = check.run().then(
    (): CheckStatus => "ok",
    (): CheckStatus => "fail",
  );
  const status = await withTimeout<CheckStatus>(outcome, check.timeoutMs, () => "fail");
  const durationMs = Math.round((clock.monotonicMs() - startedMs) * 10) / 10;
  return { status, durationMs };
}
