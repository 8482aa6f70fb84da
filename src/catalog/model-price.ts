/**
 * What a model costs, exactly: whole nano-dollars per million tokens (or per thousand searches),
 * with tiers by context size. A price is one version, valid for the instant it was looked up for.
 */

/** A rate that may grow with the size of the context. */
export type TieredRate = {
  readonly baseNanoUsd: bigint;
  /** Ascending. The last tier whose bound the call's input tokens exceed sets the whole rate. */
  readonly tiers: readonly { readonly aboveInputTokens: bigint; readonly nanoUsd: bigint }[];
};

/** Token rates are per million tokens. What the provider lists no rate for is absent. */
export type ModelRates = {
  readonly input: TieredRate;
  readonly output: TieredRate;
  readonly cacheRead?: TieredRate;
  readonly cacheWrite?: TieredRate;
  /** What is kept in the cache for an hour; `cacheWrite` is for five minutes. */
  readonly cacheWrite1h?: TieredRate;
  readonly inputAudio?: TieredRate;
  readonly outputAudio?: TieredRate;
  readonly inputImage?: TieredRate;
  readonly outputImage?: TieredRate;
  /** Per thousand searches. */
  readonly searchThousand?: TieredRate;
};

export type ModelPrice = {
  readonly provider: string;
  /** The catalog's id, which an alias or a dated id resolved to. */
  readonly catalogModel: string;
  /** Names source, its version, model and start of validity; written on every spend event. */
  readonly priceVersion: string;
  /** No prompt can have more; null where the catalog does not say. */
  readonly contextTokensMax: bigint | null;
  readonly rates: ModelRates;
};

/** Looks up what a provider's model costs at an instant, or null where no price is known. */
export type PriceBook = {
  priceOf(provider: string, model: string, at: Date): ModelPrice | null;
  /** Ids of the models that have a price, sorted. */
  modelsOf(provider: string): readonly string[];
};
