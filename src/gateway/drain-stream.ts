/**
 * After the caller has gone: reads the provider's stream on to its usage, within limits of time and
 * of tokens that nobody will read. Whatever ends it, the connection to the provider is cut.
 */
import type { Upstream } from "../providers/upstream.ts";
import { completionTokensOf } from "../usage/estimate.ts";
import type { AnswerTally } from "./answer-tally.ts";

/** No time at all: the stream is cut at once. */
export type DrainLimits = {
  readonly timeoutMs: number;
  /** Of the completion, counted from when the caller has gone. */
  readonly tokensMax: number;
};

/** Where the pump reads; `pending` is a read that it began and whose bytes are the drain's now. */
export type DrainSource = {
  readonly reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly pending: Promise<ReadResult> | null;
};

export type ReadResult = Awaited<ReturnType<ReadableStreamDefaultReader<Uint8Array>["read"]>>;

/** Never rejects: what the tally has seen decides what is booked. */
export async function drainStream(
  { reader, pending }: DrainSource,
  tally: AnswerTally,
  upstream: Upstream,
  limits: DrainLimits,
): Promise<void> {
  const callerLeftAt = tally.mark();
  const timer = setTimeout(upstream.abort, limits.timeoutMs);
  try {
    let reading = pending;
    while (!tally.isDone) {
      const { done, value } = await (reading ?? reader.read());
      reading = null;
      if (done) {
        // Usage may be in a last event that no empty line ends.
        tally.rest();
        return;
      }
      tally.push(value);
      if (completionTokensOf(tally.textBytesSince(callerLeftAt)) > BigInt(limits.tokensMax)) {
        return;
      }
    }
  } catch {
    // The stream broke, or its time is up.
  } finally {
    clearTimeout(timer);
    upstream.abort();
  }
}
