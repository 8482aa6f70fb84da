/**
 * What a call used, in disjoint buckets: no token is counted in two of them, so that each can be
 * priced once. Providers disagree on what their totals include; the readers of this folder, one a
 * wire format, sort that out at the edge.
 */

/** All counts are whole and not negative. */
export type UsageBuckets = {
  readonly inputUncachedTokens: bigint;
  readonly inputCacheReadTokens: bigint;
  readonly inputCacheWrite5mTokens: bigint;
  readonly inputCacheWrite1hTokens: bigint;
  readonly inputAudioTokens: bigint;
  readonly inputImageTokens: bigint;
  readonly outputTextTokens: bigint;
  readonly outputReasoningTokens: bigint;
  readonly outputAudioTokens: bigint;
  readonly outputImageTokens: bigint;
  readonly toolCalls: bigint;
  readonly searches: bigint;
};

export const emptyBuckets: UsageBuckets = Object.freeze({
  inputUncachedTokens: 0n,
  inputCacheReadTokens: 0n,
  inputCacheWrite5mTokens: 0n,
  inputCacheWrite1hTokens: 0n,
  inputAudioTokens: 0n,
  inputImageTokens: 0n,
  outputTextTokens: 0n,
  outputReasoningTokens: 0n,
  outputAudioTokens: 0n,
  outputImageTokens: 0n,
  toolCalls: 0n,
  searches: 0n,
});

/** Everything the model read: what price tiers by context size go by. */
export function inputTokensOf(buckets: UsageBuckets): bigint {
  return (
    buckets.inputUncachedTokens +
    buckets.inputCacheReadTokens +
    buckets.inputCacheWrite5mTokens +
    buckets.inputCacheWrite1hTokens +
    buckets.inputAudioTokens +
    buckets.inputImageTokens
  );
}

/** Everything the model wrote, thinking included. */
export function outputTokensOf(buckets: UsageBuckets): bigint {
  return (
    buckets.outputTextTokens +
    buckets.outputReasoningTokens +
    buckets.outputAudioTokens +
    buckets.outputImageTokens
  );
}

/** Where the numbers come from: the provider, our own estimate, or a crash's recovery. */
export type UsageSource = "provider" | "estimated" | "recovered";

/** A usage object as it came, beside the buckets it was read into. */
export type ReadUsage = {
  readonly buckets: UsageBuckets;
  readonly providerUsage: Readonly<Record<string, unknown>>;
};
