/** The only source of time. Everything else gets a `Clock` or an instant, so that tests move it. */
export type Clock = {
  /** The present instant. */
  now(): Date;
  /** Milliseconds that never go backwards, for durations. */
  monotonicMs(): number;
};

export const systemClock: Clock = {
  now: () => new Date(),
  monotonicMs: () => performance.now(),
};

/** Waits. */
export function sleep(durationMs: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, durationMs);
  });
}

/** Waits for the promise, but no longer than this; leaves no timer behind that keeps us alive. */
export async function waitAtMost(promise: Promise<unknown>, timeoutMs: number): Promise<void> {
  await withTimeout<unknown>(promise, timeoutMs, () => undefined);
}

/**
 * Settles as the promise does, or, when that takes longer than this, as `onTimeout` says: with its
 * value or its error. Leaves no timer behind; what the promise brings later is not looked at.
 */
export async function withTimeout<Value>(
  promise: Promise<Value>,
  timeoutMs: number,
  onTimeout: () => Value,
): Promise<Value> {
  const timeout = Promise.withResolvers<void>();
  const timer = setTimeout(timeout.resolve, timeoutMs);
  try {
    return await Promise.race([promise, timeout.promise.then(onTimeout)]);
  } finally {
    clearTimeout(timer);
  }
}
