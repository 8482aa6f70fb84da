/**
 * How many management requests one session or token may make (R116): a bucket of one minute's
 * requests that fills up evenly. In memory and per process on purpose: a page that polls shall not
 * cost a write a request, and n nodes allow n times as many.
 */
import { createHash } from "node:crypto";
import { PublicError } from "../errors.ts";

type Bucket = { left: number; atMs: number };

const MINUTE_MS = 60_000;
/** Beyond this many tokens the one that asked longest ago is forgotten. */
const SUBJECTS_MAX = 10_000;

export class RequestThrottle {
  readonly #perMinute: number;
  /** By the hash of the token, in the order of the last request. */
  readonly #buckets = new Map<string, Bucket>();

  constructor(perMinute: number) {
    this.#perMinute = perMinute;
  }

  /** Counts a request of a token. Throws `rate_limit_exceeded` when its bucket is empty. */
  take(token: string, now: Date): void {
    const subject = createHash("sha256").update(token).digest("base64url");
    const nowMs = now.getTime();
    const left = this.#leftAt(subject, nowMs);
    if (left < 1) {
      throw new PublicError(
        "rate_limit_exceeded",
        `At most ${this.#perMinute} management requests a minute are taken from one sign-in.`,
        { retryAfterSeconds: Math.ceil(((1 - left) * MINUTE_MS) / this.#perMinute / 1000) },
      );
    }
    // Deleted first, so that the map stays in the order of the last request.
    this.#buckets.delete(subject);
    this.#buckets.set(subject, { left: left - 1, atMs: nowMs });
    this.#forgetOldest();
  }

  #leftAt(subject: string, nowMs: number): number {
    const bucket = this.#buckets.get(subject);
    if (bucket === undefined) {
      return this.#perMinute;
    }
    // A clock that was set back fills nothing.
    const elapsedMs = Math.max(0, nowMs - bucket.atMs);
    return Math.min(this.#perMinute, bucket.left + (elapsedMs * this.#perMinute) / MINUTE_MS);
  }

  #forgetOldest(): void {
    for (const subject of this.#buckets.keys()) {
      if (this.#buckets.size <= SUBJECTS_MAX) {
        return;
      }
      this.#buckets.delete(subject);
    }
  }
}
