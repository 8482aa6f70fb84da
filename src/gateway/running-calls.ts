/** The calls that are running in this process: a stop waits for them, a block may cut them. */
import type { PublicError } from "../errors.ts";
import type { Metrics } from "../metrics.ts";
import type { PaidCall } from "./paid-call.ts";

/** An answer that is on its way to the caller. */
export type RunningStream = {
  readonly call: PaidCall;
  /** Ends its connection to the provider, so that it is booked by what is known. */
  readonly abort: () => void;
  /** The same at once, whatever the caller does, who is told why. Cutting again changes nothing. */
  readonly cut: (refusal: PublicError) => void;
};

export class RunningCalls {
  readonly #running = new Map<Promise<unknown>, RunningStream | null>();
  readonly #metrics: Metrics;

  constructor(metrics: Metrics) {
    this.#metrics = metrics;
  }

  /** Counts the call until `ended` settles. Its failure is handled by whoever awaits it. */
  track(ended: Promise<unknown>, stream: RunningStream | null = null): void {
    const leave = (): void => {
      this.#running.delete(quiet);
      this.#metrics.runningCalls.set(this.#running.size);
    };
    const quiet = ended.then(leave, leave);
    this.#running.set(quiet, stream);
    this.#metrics.runningCalls.set(this.#running.size);
  }

  /** Those whose answer has begun. */
  get streams(): readonly RunningStream[] {
    return [...this.#running.values()].filter((stream) => stream !== null);
  }

  /** For calls that outlast a stop's patience: better a broken answer than an unbooked one. */
  abortAll(): void {
    for (const { abort } of this.streams) {
      abort();
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
