/**
 * What a call probably used when the provider did not say, or said only in part. Pure. Never zero,
 * never below what was reported, and marked `estimated` wherever it is booked, so that nobody takes
 * it for a bill.
 */
import { emptyBuckets, inputTokensOf, outputTokensOf, type UsageBuckets } from "./buckets.ts";

type Bounds = { readonly promptTokensMax: bigint; readonly completionTokensMax: bigint };

/** English text has about four bytes a token; the prompt's bound counts one token a byte. */
export const BYTES_PER_TOKEN = 4n;

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
    inputUncachedTokens: promptTokensOf(bounds),
    outputTextTokens: completionTokens,
  };
}

/**
 * For an answer that was cut after the provider had reported a part of it: the report, and what was
 * seen since. The addition ends at the bound; a report above it stays, because it is known. A
 * report without a prompt does not know it yet: it is estimated.
 */
export function estimateBeyond(
  reported: UsageBuckets,
  bounds: Bounds,
  unreportedBytes: bigint,
): UsageBuckets {
  const left = bounds.completionTokensMax - outputTokensOf(reported);
  const unreportedTokens = least(completionTokensOf(unreportedBytes), left > 0n ? left : 0n);
  const hasPrompt = inputTokensOf(reported) > 0n;
  return {
    ...reported,
    inputUncachedTokens: hasPrompt ? reported.inputUncachedTokens : promptTokensOf(bounds),
    outputTextTokens: reported.outputTextTokens + unreportedTokens,
  };
}

/** About how many tokens this much text is; none only for no text. */
export function completionTokensOf(textBytes: bigint): bigint {
  return (textBytes + BYTES_PER_TOKEN - 1n) / BYTES_PER_TOKEN;
}

function promptTokensOf({ promptTokensMax }: Bounds): bigint {
  return least(tokensOf(promptTokensMax), promptTokensMax);
}

function tokensOf(bytes: bigint): bigint {
  const tokens = completionTokensOf(bytes);
  return tokens > 0n ? tokens : 1n;
}

function least(left: bigint, right: bigint): bigint {
  return left < right ? left : right;
}
