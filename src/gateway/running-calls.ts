/** The calls that are running in this process, so that a stop can wait for them. */
import type { Metrics } from "../metrics.ts";

export class RunningCalls {
  readonly #running = new Set<Promise<unknown>>();
  readonly #metrics: Metrics;

  constructor(metrics: Metrics) {
    this.#metrics = metrics;
  }

  /** Counts the call until `ended` settles. Its failure is handled by whoever awaits it. */
  track(ended: Promise<unknown>): void {
    const quiet = ended
      .catch(() => {})
      .finally(() => {
        this.#running.delete(quiet);
        this.#metrics.runningCalls.set(this.#running.size);
      });
    this.#running.add(quiet);
    this.#metrics.runningCalls.set(this.#running.size);
  }

  get count(): number {
    return this.#running.size;
  }

  /** Resolves when no call is running any more. */
  async drained(): Promise<void> {
    while (this.#running.size > 0) {
      await Promise.all(this.#running);
    }
  }
}
