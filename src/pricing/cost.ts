/**
 * What a call cost: buckets × rates in whole numbers, added up, divided once, rounded up once.
 * Pure. A bucket without a rate of its own takes the rate of what it is a part of, as the providers
 * bill it: cached input without a cache price is input, reasoning is output.
 */
import type { ModelPrice, ModelRates, TieredRate } from "../catalog/model-price.ts";
import { divideRoundingUp, type NanoUsd } from "../money.ts";
import { inputTokensOf, type UsageBuckets } from "../usage/buckets.ts";

const TOKENS_PER_RATE = 1_000_000n;
const SEARCHES_PER_RATE = 1_000n;

/** The price list has no rate for something that the call used. */
export class UnpricedUsageError extends Error {
  override readonly name = "UnpricedUsageError";
}

/** Throws `UnpricedUsageError` when the call searched or used a tool that has no rate. */
export function costOf(buckets: UsageBuckets, price: ModelPrice): NanoUsd {
  const { rates } = price;
  const inputTokens = inputTokensOf(buckets);
  const lines: readonly [bigint, TieredRate][] = [
    [buckets.inputUncachedTokens, rates.input],
    [buckets.inputCacheReadTokens, rates.cacheRead ?? rates.input],
    [buckets.inputCacheWrite5mTokens, rates.cacheWrite ?? rates.input],
    [buckets.inputCacheWrite1hTokens, rates.cacheWrite1h ?? rates.cacheWrite ?? rates.input],
    [buckets.inputAudioTokens, rates.inputAudio ?? rates.input],
    [buckets.inputImageTokens, rates.inputImage ?? rates.input],
    [buckets.outputTextTokens, rates.output],
    [buckets.outputReasoningTokens, rates.output],
    [buckets.outputAudioTokens, rates.outputAudio ?? rates.output],
    [buckets.outputImageTokens, rates.outputImage ?? rates.output],
  ];
  let millionths = lines.reduce(
    (sum, [tokens, rate]) => sum + tokens * rateAt(rate, inputTokens),
    0n,
  );
  millionths += searchMillionths(buckets.searches, rates, inputTokens);
  if (buckets.toolCalls > 0n) {
    throw new UnpricedUsageError(`${price.priceVersion} has no rate for tool calls`);
  }
  return divideRoundingUp(millionths, TOKENS_PER_RATE);
}

/** The rate for a call of this context size: one tier for all its tokens. */
export function rateAt(rate: TieredRate, inputTokens: bigint): bigint {
  const tier = rate.tiers.findLast(({ aboveInputTokens }) => inputTokens > aboveInputTokens);
  return tier?.nanoUsd ?? rate.baseNanoUsd;
}

function searchMillionths(searches: bigint, rates: ModelRates, inputTokens: bigint): bigint {
  if (searches === 0n) {
    return 0n;
  }
  if (rates.searchThousand === undefined) {
    throw new UnpricedUsageError("the model has no rate for searches");
  }
  const perThousand = rateAt(rates.searchThousand, inputTokens);
  return searches * perThousand * (TOKENS_PER_RATE / SEARCHES_PER_RATE);
}
