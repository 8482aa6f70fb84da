/**
 * What a call probably used when the provider did not say. Pure. Never zero, and marked
 * `estimated` wherever it is booked, so that nobody takes it for a bill.
 */
import { emptyBuckets, type UsageBuckets } from "./buckets.ts";

type Bounds = { readonly promptTokensMax: bigint; readonly completionTokensMax: bigint };

/** English text has about four bytes a token; the prompt's bound counts one token a byte. */
const BYTES_PER_TOKEN = 4n;

/**
 * `completionBytes` is the text that was seen of the answer, in bytes; null when nothing is known
 * of it, which is booked at the bound.
 */
export function estimateUsage(bounds: Bounds, completionBytes: bigint | null): UsageBuckets {
  const completionTokens =
    completionBytes === null
      ? bounds.completionTokensMax
      : least(tokensOf(completionBytes), bounds.completionTokensMax);
  return {
    ...emptyBuckets,
    inputUncachedTokens: least(tokensOf(bounds.promptTokensMax), bounds.promptTokensMax),
    outputTextTokens: completionTokens,
  };
}

function tokensOf(bytes: bigint): bigint {
  const tokens = (bytes + BYTES_PER_TOKEN - 1n) / BYTES_PER_TOKEN;
  return tokens > 0n ? tokens : 1n;
}

function least(left: bigint, right: bigint): bigint {
  return left < right ? left : right;
}
