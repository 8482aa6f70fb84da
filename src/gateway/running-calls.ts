/** The calls that are running in this process, so that a stop can wait for them. */
import type { Metrics } from "../metrics.ts";

export class RunningCalls {
  readonly #running = new Map<Promise<unknown>, () => void>();
  readonly #metrics: Metrics;

  constructor(metrics: Metrics) {
    this.#metrics = metrics;
  }

  /**
   * Counts the call until `ended` settles. Its failure is handled by whoever awaits it. `cut` ends
   * its connection to the provider, so that it is booked by what is known.
   */
  track(ended: Promise<unknown>, cut: () => void = () => {}): void {
    const leave = (): void => {
      this.#running.delete(quiet);
      this.#metrics.runningCalls.set(this.#running.size);
    };
    const quiet = ended.then(leave, leave);
    this.#running.set(quiet, cut);
    this.#metrics.runningCalls.set(this.#running.size);
  }

  /** For calls that outlast a stop's patience: better a broken answer than an unbooked one. */
  cutAll(): void {
    for (const cut of this.#running.values()) {
      cut();
    }
  }

  get count(): number {
    return this.#running.size;
  }

  /** Resolves when no call is running any more. */
  async drained(): Promise<void> {
    while (this.#running.size > 0) {
      await Promise.all(this.#running.keys());
    }
  }
}
