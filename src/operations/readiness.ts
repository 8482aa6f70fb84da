/**
 * Whether this node should get traffic: each check by name, with its own time limit, all at once,
 * so that the answer comes within a second whatever hangs.
 */
import type { Clock } from "../clock.ts";

export type CheckStatus = "ok" | "degraded" | "fail" | "skipped";

/** Resolves when what it stands for is good; `detail` is public and holds no internals. */
export type ReadinessCheck = {
  readonly name: string;
  readonly timeoutMs: number;
  readonly run: () => Promise<void>;
};

export type ReadinessReport = {
  readonly status: "ready" | "not_ready";
  readonly checks: Readonly<Record<string, { status: CheckStatus; durationMs: number }>>;
};

/** Runs all checks. One that fails or takes too long makes the node not ready. */
export async function readReadiness(
  checks: readonly ReadinessCheck[],
  clock: Clock,
): Promise<ReadinessReport> {
  const results = await Promise.all(checks.map((check) => runCheck(check, clock)));
  const isReady = results.every(([, { status }]) => status !== "fail");
  return { status: isReady ? "ready" : "not_ready", checks: Object.fromEntries(results) };
}

async function runCheck(
  check: ReadinessCheck,
  clock: Clock,
): Promise<[string, { status: CheckStatus; durationMs: number }]> {
  const startedMs = clock.monotonicMs();
  const timeout = Promise.withResolvers<"fail">();
  const timer = setTimeout(() => timeout.resolve("fail"), check.timeoutMs);
  const outcome = check.run().then(
    () => "ok" as const,
    () => "fail" as const,
  );
  const status = await Promise.race([outcome, timeout.promise]);
  clearTimeout(timer);
  const durationMs = Math.round((clock.monotonicMs() - startedMs) * 10) / 10;
  return [check.name, { status, durationMs }];
}
