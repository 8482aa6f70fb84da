/** Lines that say what is being measured, and about how long the rest takes. */
import { expectedSeconds, type Options, type PartName } from "./options.ts";

export class Progress {
  readonly #options: Options;
  #waiting: readonly PartName[];
  #endsMs = 0;

  constructor(options: Options) {
    this.#options = options;
    this.#waiting = options.parts;
  }

  begin(part: PartName): void {
    this.#waiting = this.#waiting.filter((waiting) => waiting !== part);
    this.#endsMs = performance.now() + expectedSeconds(part, this.#options) * 1000;
    this.log(`— ${part}`);
  }

  log(line: string): void {
    const now = new Date().toISOString().slice(11, 19);
    process.stderr.write(`${now} (${this.#left()} left) ${line}\n`);
  }

  /** A part that takes longer than expected leaves at least what waits behind it. */
  #left(): string {
    const ahead = this.#waiting.reduce(
      (sum, part) => sum + expectedSeconds(part, this.#options),
      0,
    );
    const seconds = ahead + Math.max(0, (this.#endsMs - performance.now()) / 1000);
    return seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.ceil(seconds / 60)} min`;
  }
}
