/**
 * The most a call can cost, before it is made: the greatest number of tokens that can be billed, at
 * the dearest rate that could apply to any of them. Pure. What a request says about its tokens is
 * read by the gateway's route; here it is only priced.
 */
import type { ModelPrice, TieredRate } from "../catalog/model-price.ts";
import { divideRoundingUp, type NanoUsd } from "../money.ts";

export type TokenBounds = {
  /** Tokens of one prompt, at most. */
  readonly promptTokensMax: bigint;
  /** Tokens of all choices together, at most. */
  readonly completionTokensMax: bigint;
  readonly searchesMax: bigint;
  /** Audio rates only count where the request can cause such tokens. */
  readonly hasAudio: boolean;
};

const TOKENS_PER_RATE = 1_000_000n;
const MILLIONTHS_PER_SEARCH_RATE = 1_000n;

/**
 * Answers null when the bound cannot be priced: searches or audio asked of a model that lists no
 * rate for them. Audio costs a multiple of text, so the rate for text would not bound it.
 */
export function upperBoundOf(bounds: TokenBounds, price: ModelPrice): NanoUsd | null {
  const { rates } = price;
  const { input, cacheRead, cacheWrite, cacheWrite1h, inputImage } = rates;
  const inputRates = [input, cacheRead, cacheWrite, cacheWrite1h, inputImage];
  const outputRates = [rates.output, rates.outputImage];
  if (bounds.hasAudio) {
    if (rates.inputAudio === undefined) {
      return null;
    }
    inputRates.push(rates.inputAudio);
    outputRates.push(rates.outputAudio);
  }
  if (bounds.searchesMax > 0n && rates.searchThousand === undefined) {
    return null;
  }
  const searchRate = dearest([rates.searchThousand], bounds.promptTokensMax);
  return divideRoundingUp(
    bounds.promptTokensMax * dearest(inputRates, bounds.promptTokensMax) +
      bounds.completionTokensMax * dearest(outputRates, bounds.promptTokensMax) +
      bounds.searchesMax * searchRate * MILLIONTHS_PER_SEARCH_RATE,
    TOKENS_PER_RATE,
  );
}

/** A call may turn out smaller than its bound, so every tier up to the bound could apply. */
function dearest(rates: readonly (TieredRate | undefined)[], inputTokensMax: bigint): bigint {
  let most = 0n;
  for (const rate of rates) {
    for (const candidate of rate === undefined ? [] : reachableRates(rate, inputTokensMax)) {
      most = candidate > most ? candidate : most;
    }
  }
  return most;
}

function reachableRates(rate: TieredRate, inputTokensMax: bigint): bigint[] {
  const reached = rate.tiers.filter(({ aboveInputTokens }) => inputTokensMax > aboveInputTokens);
  return [rate.baseNanoUsd, ...reached.map(({ nanoUsd }) => nanoUsd)];
}
