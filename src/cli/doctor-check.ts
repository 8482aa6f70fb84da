/** One line of `spendra doctor`: a check with a time limit, and what came of it. */
import { type Clock, withTimeout } from "../clock.ts";

/** `skip`: it could not be looked at because of a failure that has its own line. */
export type FindingStatus = "ok" | "warn" | "fail" | "skip";

export type Finding = {
  readonly status: FindingStatus;
  readonly check: string;
  /** What is the case. Never holds a secret. */
  readonly message: string;
  /** What to do about it, where the message does not say so itself. */
  readonly mending?: string;
};

/** A finding before it has the name of its check. */
export type Result = Omit<Finding, "check">;

export function ok(message: string): Result {
  return { status: "ok", message };
}

export function warn(message: string, mending: string): Result {
  return { status: "warn", message, mending };
}

export function fail(message: string, mending: string): Result {
  return { status: "fail", message, mending };
}

export function skip(message: string): Result {
  return { status: "skip", message };
}

const CHECK_TIMEOUT_MS = 6_000;

/** Runs a check. One that throws or takes too long has failed; the others are none the worse. */
export async function runCheck(
  check: string,
  work: () => Promise<Result>,
  explain: (error: unknown) => Result,
): Promise<Finding> {
  const late = () =>
    fail(`no answer within ${CHECK_TIMEOUT_MS / 1000} s`, "See whether this host or it is busy.");
  try {
    return { check, ...(await withTimeout(work(), CHECK_TIMEOUT_MS, late)) };
  } catch (error) {
    return { check, ...explain(error) };
  }
}

type RoundTrip = { durationMs: number; startedAt: Date };

/** How long something takes, and when it began. */
export async function timed<Value>(
  clock: Clock,
  work: () => Promise<Value>,
): Promise<RoundTrip & { value: Value }> {
  const startedAt = clock.now();
  const startedMs = clock.monotonicMs();
  const value = await work();
  return { value, startedAt, durationMs: clock.monotonicMs() - startedMs };
}
