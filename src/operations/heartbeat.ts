/** A node's regular signs of life. */
import { waitAtMost } from "../clock.ts";
import type { Log } from "../log.ts";

export type Heartbeat = {
  /** One beat more, now. Never throws; does nothing once it was stopped. */
  beat(): void;
  /** Beats no more; resolves when the last beat has ended, or has taken too long. */
  stop(timeoutMs: number): Promise<void>;
};

/** Beats in this interval, and whenever it is asked to. A beat that fails is logged. */
export function startHeartbeat(
  intervalMs: number,
  log: Log,
  give: () => Promise<unknown>,
): Heartbeat {
  let isStopped = false;
  let latest: Promise<unknown> = Promise.resolve();
  const beat = (): void => {
    // A connection that is asked for while the pool closes is waited for in vain.
    if (!isStopped) {
      latest = give().catch((error: unknown) => log.warn("node.heartbeat_failed", { error }));
    }
  };
  const timer = setInterval(beat, intervalMs);
  return {
    beat,
    stop: async (timeoutMs) => {
      isStopped = true;
      clearInterval(timer);
      await waitAtMost(latest, timeoutMs);
    },
  };
}
