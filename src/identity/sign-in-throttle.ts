/**
 * Slows down guessing of passwords: at most five failures in fifteen minutes for an e-mail and for
 * an address. In memory and per process on purpose: n nodes allow n times as many guesses, which is
 * still too few to find a password, and a sign-in needs no extra write.
 */
import { PublicError } from "../errors.ts";

const FAILURES_MAX = 5;
const WINDOW_MS = 15 * 60 * 1000;
/** Beyond this many e-mails and addresses the one that failed longest ago is forgotten. */
const SUBJECTS_MAX = 10_000;

export class SignInThrottle {
  /** Instants of failed and running attempts of each subject, oldest first. */
  readonly #attempts = new Map<string, readonly number[]>();

  /**
   * Counts an attempt for each subject before the password is looked at, so that a thousand
   * attempts at once are not all let through. Throws `sign_in_throttled`.
   */
  begin(subjects: readonly string[], now: Date): void {
    const nowMs = now.getTime();
    const waitMs = Math.max(...subjects.map((subject) => this.#waitMs(subject, nowMs)));
    if (waitMs > 0) {
      throw new PublicError("sign_in_throttled", undefined, {
        retryAfterSeconds: Math.ceil(waitMs / 1000),
      });
    }
    for (const subject of subjects) {
      const attempts = this.#recent(subject, nowMs);
      // Deleted first, so that the map stays in the order of the last attempt.
      this.#attempts.delete(subject);
      this.#attempts.set(subject, [...attempts, nowMs]);
    }
    this.#forgetOldest();
  }

  /** Takes back the attempt that was begun at this instant: it was no wrong password. */
  takeBack(subjects: readonly string[], begunAt: Date): void {
    for (const subject of subjects) {
      const attempts = this.#attempts.get(subject) ?? [];
      const index = attempts.lastIndexOf(begunAt.getTime());
      this.#attempts.set(
        subject,
        attempts.filter((_, position) => position !== index),
      );
    }
  }

  #recent(subject: string, nowMs: number): readonly number[] {
    const attempts = this.#attempts.get(subject) ?? [];
    return attempts.filter((atMs) => nowMs - atMs < WINDOW_MS);
  }

  #waitMs(subject: string, nowMs: number): number {
    const attempts = this.#recent(subject, nowMs);
    const oldest = attempts.at(-FAILURES_MAX);
    return oldest === undefined ? 0 : oldest + WINDOW_MS - nowMs;
  }

  #forgetOldest(): void {
    for (const subject of this.#attempts.keys()) {
      if (this.#attempts.size <= SUBJECTS_MAX) {
        return;
      }
      this.#attempts.delete(subject);
    }
  }
}
