/** What calls cost: exactly, at the right price of the right model, and never above the bound. */
import { describe, expect, test } from "bun:test";
import {
  calcPrice,
  findProvider,
  type ModelInfo,
  type TieredPrices,
  waitForUpdate,
} from "@pydantic/genai-prices";
import fc from "fast-check";
import { openBuiltInPriceBook } from "../src/catalog/built-in.ts";
import type { ModelPrice, ModelRates, TieredRate } from "../src/catalog/model-price.ts";
import { approximateUsd, divideRoundingUp } from "../src/money.ts";
import { costOf, rateAt, UnpricedUsageError } from "../src/pricing/cost.ts";
import { upperBoundOf } from "../src/pricing/upper-bound.ts";
import {
  emptyBuckets,
  inputTokensOf,
  outputTokensOf,
  type UsageBuckets,
} from "../src/usage/buckets.ts";

const NOW = new Date("2026-11-21T12:00:00Z");
const book = openBuiltInPriceBook(["openai"]);
const models = book.modelsOf("openai");

function priceOf(model: string, at = NOW): ModelPrice {
  const price = book.priceOf("openai", model, at);
  if (price === null) {
    throw new Error(`${model} has no price`);
  }
  return price;
}

/** Mostly small counts, some at and over the tiers' bounds, some as large as contexts get. */
const tokens = fc.oneof(
  fc.bigInt({ min: 0n, max: 50n }),
  fc.bigInt({ min: 271_990n, max: 272_010n }),
  fc.bigInt({ min: 0n, max: 2_000_000n }),
);
const usages: fc.Arbitrary<UsageBuckets> = fc.record({
  inputUncachedTokens: tokens,
  inputCacheReadTokens: tokens,
  inputCacheWrite5mTokens: tokens,
  inputCacheWrite1hTokens: tokens,
  inputAudioTokens: tokens,
  inputImageTokens: tokens,
  outputTextTokens: tokens,
  outputReasoningTokens: tokens,
  outputAudioTokens: tokens,
  outputImageTokens: tokens,
  toolCalls: fc.constant(0n),
  searches: fc.bigInt({ min: 0n, max: 20n }),
});
const instants = fc.date({
  min: new Date("2024-01-01T00:00:00Z"),
  max: new Date("2028-01-01T00:00:00Z"),
  noInvalidDate: true,
});
const listedModels = fc.constantFrom(...models);

/** A model without a rate for searches refuses them, so they are left out of its usage. */
function onlyPriced(usage: UsageBuckets, { rates }: ModelPrice): UsageBuckets {
  return rates.searchThousand === undefined ? { ...usage, searches: 0n } : usage;
}

describe("the cost", () => {
  test("is refused for searches without a rate and for tool calls", () => {
    const noRate = priceOf("gpt-4o-search-preview");
    expect(() => costOf({ ...emptyBuckets, searches: 1n }, noRate)).toThrow(UnpricedUsageError);
    const calls = { ...emptyBuckets, toolCalls: 1n };
    expect(() => costOf(calls, priceOf("gpt-4o"))).toThrow(UnpricedUsageError);
  });

  test.each([
    ["gpt-4o-mini", { inputUncachedTokens: 1n }, 150n],
    ["gpt-4o-mini", { inputCacheReadTokens: 1n }, 75n],
    ["gpt-4o-mini", { outputReasoningTokens: 1n }, 600n],
    ["gpt-4o", { searches: 1n }, 10_000_000n],
    ["gpt-oss-120b", { inputUncachedTokens: 1n }, 39n],
    ["gpt-5-nano", { inputCacheReadTokens: 1n }, 5n],
    ["gpt-4.1-nano", { inputCacheReadTokens: 1n }, 25n],
    ["gpt-5.6-terra", { inputCacheWrite5mTokens: 1n }, 2_500n],
    ["gpt-audio", { inputAudioTokens: 1n, outputAudioTokens: 1n }, 96_000n],
    // No cache price is listed: cached input is input.
    ["gpt-4", { inputCacheReadTokens: 1n }, 30_000n],
  ])("of %s for %p is %p nano-dollars", (model, usage, costNanoUsd) => {
    expect(costOf({ ...emptyBuckets, ...usage }, priceOf(model))).toBe(costNanoUsd);
  });

  test("of nothing is nothing", () => {
    for (const model of models) {
      expect(costOf(emptyBuckets, priceOf(model))).toBe(0n);
    }
  });

  test("is added up first and rounded up once", () => {
    const rate = { baseNanoUsd: 1n, tiers: [] };
    const price: ModelPrice = { ...priceOf("gpt-4o"), rates: { input: rate, output: rate } };
    const usage = { ...emptyBuckets, inputUncachedTokens: 600_000n, outputTextTokens: 400_000n };
    expect(costOf(usage, price)).toBe(1n);
    expect(costOf({ ...usage, inputCacheReadTokens: 1n }, price)).toBe(2n);
  });

  test("an hour in the cache has a rate of its own", () => {
    const anthropic = openBuiltInPriceBook(["anthropic"]);
    const price = anthropic.priceOf("anthropic", "claude-fable-5", NOW);
    const usage = { ...emptyBuckets, inputCacheWrite5mTokens: 1n, inputCacheWrite1hTokens: 1n };
    expect(price && costOf(usage, price)).toBe(12_500n + 20_000n);
  });

  test("equals an exact rational computation from the list's own decimals", () => {
    fc.assert(
      fc.property(listedModels, usages, instants, (model, usage, at) => {
        const price = priceOf(model, at);
        const used = onlyPriced(usage, price);
        expect(costOf(used, price)).toBe(exactCostOf(price.catalogModel, used, at));
      }),
      { numRuns: 1_000 },
    );
  });

  /**
   * The package wants totals that contain their parts, and works in floating point without rounding
   * up. It knows no reasoning rate at OpenAI either; its answer may therefore differ by the part of
   * a nano-dollar that we round up, and by the error of its sums.
   */
  test("equals what the price list's own package computes", () => {
    fc.assert(
      fc.property(listedModels, usages, instants, (model, usage, at) => {
        const price = priceOf(model, at);
        const used = onlyPriced(usage, price);
        const theirs = calcPrice(toPackageUsage(used), model, {
          providerId: "openai",
          timestamp: at,
        });
        expect(theirs?.model.id).toBe(price.catalogModel);
        const theirsUsd = theirs?.total_price ?? Number.NaN;
        const differenceUsd = approximateUsd(costOf(used, price)) - theirsUsd;
        const errorUsd = theirsUsd * 1e-12;
        expect(differenceUsd).toBeGreaterThanOrEqual(-errorUsd);
        expect(differenceUsd).toBeLessThanOrEqual(1e-9 + errorUsd);
      }),
      { numRuns: 1_000 },
    );
  });
});

describe("a tier", () => {
  test.each([
    ["gpt-5.4", 271_998n, 2_500_000_000n],
    ["gpt-5.4", 271_999n, 2_500_000_000n],
    ["gpt-5.4", 272_000n, 5_000_000_000n],
    ["gpt-5.4", 272_001n, 5_000_000_000n],
    ["gpt-6-sol", 271_999n, 2_000_000_000n],
    ["gpt-6-sol", 272_000n, 2_000_000_000n],
    ["gpt-6-sol", 272_001n, 4_000_000_000n],
  ])("of %s at %p input tokens sets the rate %p", (model, inputTokens, rateNanoUsd) => {
    expect(rateAt(priceOf(model).rates.input, inputTokens)).toBe(rateNanoUsd);
  });

  test("goes by all input together, and holds for cached input and output too", () => {
    const below = {
      ...emptyBuckets,
      inputUncachedTokens: 1n,
      inputCacheReadTokens: 271_998n,
      outputTextTokens: 1n,
    };
    const above = { ...below, inputCacheReadTokens: 271_999n };
    expect(costOf(below, priceOf("gpt-5.4"))).toBe(2_500n + 271_998n * 250n + 15_000n);
    expect(costOf(above, priceOf("gpt-5.4"))).toBe(5_000n + 271_999n * 500n + 22_500n);
  });
});

describe("a dated price", () => {
  test.each([
    ["o3", "2025-06-10"],
    ["gpt-5.6-luna", "2026-07-30"],
    ["gpt-5.6-terra", "2026-07-30"],
    ["gpt-5.6-sol", "2026-08-21"],
  ])("of %s begins at %s 00:00 UTC, not a millisecond earlier", (model, startDate) => {
    const start = new Date(`${startDate}T00:00:00.000Z`);
    const before = priceOf(model, new Date(start.getTime() - 1));
    const from = priceOf(model, start);
    expect(from.priceVersion).toEndWith(`/${model}@${startDate}`);
    expect(before.priceVersion).toEndWith(`/${model}`);
    expect(from.rates).not.toEqual(before.rates);
  });
});

describe("a model id", () => {
  test.each([
    "",
    "gpt",
    "gpt-4.5",
    "gpt-4o-",
    "gpt-4oo",
    "gpt-4-",
    "GPT-4o",
    " gpt-4o",
    "gpt-4o ",
    "gpt-4o\n",
    "openai/gpt-4o",
    "gpt-4o-2030-01-01",
    "gpt-4o-2024-08-06-preview",
    "gpt-4-turbo-2030-01-01",
    "gpt-5-nano-high",
    "gpt-5-nano-2025-08-07-x",
    "gpt-5-nano-2025-08-07\n",
    "gpt-5.6-sol-20260801",
    "gpt-5.6-sol-2026-08-01\n",
    "xgpt-5.6-sol-2026-08-01",
    "gpt-4o-mini-2024-07-18.ft",
    // A fine-tuned model has a price of its own that no list knows by this id.
    "ft:gpt-4o",
    "ft:gpt-4o-2024-08-06:acme::abc123",
    "ft:gpt-3.5-turbo-0125:acme::abc123",
    "ft:gpt-4-0613:acme::abc123",
    // These list fees that we cannot bill, so they have no price.
    "gpt-realtime",
    "gpt-image-1",
    "whisper-1",
    "text-embedding-3-small",
    "omni-moderation-latest",
    "__proto__",
    "constructor",
  ])("that is %j has no price", (model) => {
    expect(book.priceOf("openai", model, NOW)).toBeNull();
  });

  test.each([
    ["gpt-4", "gpt-4"],
    ["gpt-4-0613", "gpt-4"],
    ["gpt-4o", "gpt-4o"],
    ["gpt-4o-2024-08-06", "gpt-4o"],
    ["gpt-4o-2024-05-13", "gpt-4o-2024-05-13"],
    ["gpt-4o-mini", "gpt-4o-mini"],
    ["gpt-4o-mini-2024-07-18", "gpt-4o-mini"],
    ["gpt-4.5-preview", "gpt-4.5-preview"],
    ["gpt-4.5-preview-2025-02-27", "gpt-4.5-preview"],
    ["gpt-5-nano-2025-08-07", "gpt-5-nano"],
    ["gpt-5.6-sol-2026-08-01", "gpt-5.6-sol"],
    ["gpt-5.6", "gpt-5.6-sol"],
    ["o3", "o3"],
    ["o3-mini", "o3-mini"],
  ])("%s is priced as %s", (model, catalogModel) => {
    expect(priceOf(model)).toMatchObject({ provider: "openai", catalogModel });
  });

  test("is priced by its provider, and never by one with a similar name", () => {
    const two = openBuiltInPriceBook(["openai", "cerebras", "my-openai"]);
    const inputRateAt = (provider: string) =>
      two.priceOf(provider, "gpt-oss-120b", NOW)?.rates.input.baseNanoUsd;
    expect(inputRateAt("openai")).toBe(39_000_000n);
    expect(inputRateAt("cerebras")).toBe(350_000_000n);
    expect(two.priceOf("my-openai", "gpt-4o", NOW)).toBeNull();
    expect(two.modelsOf("my-openai")).toEqual([]);
  });
});

describe("the price book", () => {
  test("opens for every provider of the list, and every model it names has a price", async () => {
    const ids = ((await waitForUpdate()) ?? []).map(({ id }) => id);
    expect(ids.length).toBeGreaterThan(40);
    const all = openBuiltInPriceBook(ids);
    for (const id of ids) {
      const names = all.modelsOf(id);
      expect(names.filter((name) => all.priceOf(id, name, NOW) === null)).toEqual([]);
    }
    // A fee for each request: priced by its tokens alone it would be too cheap.
    expect(all.priceOf("perplexity", "sonar", NOW)).toBeNull();
  });

  test("bounds a prompt by more than the rounded context window that is listed", () => {
    expect(priceOf("gpt-4.1").contextTokensMax).toBeGreaterThanOrEqual(1_047_576n);
    expect(priceOf("gpt-4-32k").contextTokensMax).toBeGreaterThanOrEqual(32_768n);
  });
});

describe("the upper bound", () => {
  const rates = fc.bigInt({ min: 0n, max: 10n ** 12n });
  const tieredRates: fc.Arbitrary<TieredRate> = fc.record({
    baseNanoUsd: rates,
    tiers: fc
      .array(fc.record({ aboveInputTokens: fc.bigInt(0n, 2_000_000n), nanoUsd: rates }), {
        maxLength: 3,
      })
      .map((tiers) =>
        tiers.sort((left, right) => Number(left.aboveInputTokens - right.aboveInputTokens)),
      ),
  });
  const madeUpPrices: fc.Arbitrary<ModelPrice> = fc
    .record(
      {
        input: tieredRates,
        output: tieredRates,
        cacheRead: tieredRates,
        cacheWrite: tieredRates,
        cacheWrite1h: tieredRates,
        inputAudio: tieredRates,
        outputAudio: tieredRates,
        inputImage: tieredRates,
        outputImage: tieredRates,
        searchThousand: tieredRates,
      } satisfies Record<keyof ModelRates, unknown>,
      { requiredKeys: ["input", "output"] },
    )
    .map((made) => ({ ...priceOf("gpt-4o"), rates: made }));
  const listedPrices = fc.tuple(listedModels, instants).map(([model, at]) => priceOf(model, at));
  const prices = fc.oneof(listedPrices, madeUpPrices);
  const slack = fc.oneof(fc.constant(0n), fc.bigInt(0n, 1_000_000n));

  test("is refused where searches or audio have no rate", () => {
    const bounds = { promptTokensMax: 1n, completionTokensMax: 1n };
    const gpt4 = priceOf("gpt-4");
    expect(upperBoundOf({ ...bounds, searchesMax: 1n, hasAudio: false }, gpt4)).toBeNull();
    // Audio costs sixteen times the text rate that is listed for this model.
    const audio = priceOf("gpt-4o-audio-preview");
    expect(upperBoundOf({ ...bounds, searchesMax: 0n, hasAudio: true }, audio)).toBeNull();
    expect(upperBoundOf({ ...bounds, searchesMax: 0n, hasAudio: false }, audio)).not.toBeNull();
  });

  test("is at least the cost of every usage within its bounds", () => {
    fc.assert(
      fc.property(prices, usages, slack, slack, (price, usage, promptSlack, completionSlack) => {
        const used = onlyPriced(usage, price);
        const bound = upperBoundOf(
          {
            promptTokensMax: inputTokensOf(used) + promptSlack,
            completionTokensMax: outputTokensOf(used) + completionSlack,
            searchesMax: used.searches,
            hasAudio: price.rates.inputAudio !== undefined,
          },
          price,
        );
        const isAudioPriced = price.rates.inputAudio !== undefined;
        const silent = { ...used, inputAudioTokens: 0n, outputAudioTokens: 0n };
        const cost = costOf(isAudioPriced ? used : silent, price);
        expect(bound).not.toBeNull();
        expect(bound ?? 0n).toBeGreaterThanOrEqual(cost);
      }),
      { numRuns: 3_000 },
    );
  });

  test("of text is never dearer than all tokens at the model's dearest text rate", () => {
    const bounds = { promptTokensMax: 1_000n, completionTokensMax: 500n, searchesMax: 0n };
    expect(upperBoundOf({ ...bounds, hasAudio: false }, priceOf("gpt-4o-mini"))).toBe(450_000n);
    expect(upperBoundOf({ ...bounds, hasAudio: false }, priceOf("gpt-audio"))).toBe(7_500_000n);
    expect(upperBoundOf({ ...bounds, hasAudio: true }, priceOf("gpt-audio"))).toBe(64_000_000n);
  });
});

/** Each bucket's rates in the list, the first that is there counts. */
const LISTED_RATES: Partial<Record<keyof UsageBuckets, readonly string[]>> = {
  inputUncachedTokens: ["input_mtok"],
  inputCacheReadTokens: ["cache_read_mtok", "input_mtok"],
  inputCacheWrite5mTokens: ["cache_write_mtok", "input_mtok"],
  inputCacheWrite1hTokens: ["cache_write_1h_mtok", "cache_write_mtok", "input_mtok"],
  inputAudioTokens: ["input_audio_mtok", "input_mtok"],
  inputImageTokens: ["input_image_mtok", "input_mtok"],
  outputTextTokens: ["output_mtok"],
  outputReasoningTokens: ["output_reasoning_mtok", "output_mtok"],
  outputAudioTokens: ["output_audio_mtok", "output_mtok"],
  outputImageTokens: ["output_image_mtok", "output_mtok"],
};
const DECIMALS = 18;

/** The same sum a second time, from the decimals as the list writes them, over 10^18. */
function exactCostOf(catalogModel: string, usage: UsageBuckets, at: Date): bigint {
  const listed = listedPricesOf(catalogModel, at);
  const inputTokens = inputTokensOf(usage);
  const scaledAt = (names: readonly string[]) => {
    const name = names.find((candidate) => listed[candidate] !== undefined) ?? "";
    return scaledDecimal(listedNumber(listed[name] ?? Number.NaN, inputTokens));
  };
  let sum = usage.searches === 0n ? 0n : usage.searches * scaledAt(["web_searches_kcount"]) * 1000n;
  for (const [bucket, names] of Object.entries(LISTED_RATES)) {
    sum += usage[bucket as keyof UsageBuckets] * scaledAt(names);
  }
  // Dollars per million over 10^18, to nano-dollars.
  return divideRoundingUp(sum, 10n ** BigInt(DECIMALS + 6 - 9));
}

function listedPricesOf(id: string, at: Date): ModelInfo["prices"] & Record<string, unknown> {
  const info = findProvider({ providerId: "openai" })?.models.find((model) => model.id === id);
  const versions = Array.isArray(info?.prices) ? info.prices : [{ prices: info?.prices ?? {} }];
  const begun = versions.filter(({ constraint }) =>
    constraint?.type === "start_date" ? at.toISOString() >= constraint.start_date : true,
  );
  return (begun.at(-1)?.prices ?? {}) as ModelInfo["prices"] & Record<string, unknown>;
}

function listedNumber(price: unknown, inputTokens: bigint): number {
  if (typeof price === "number") {
    return price;
  }
  const { base, tiers } = price as TieredPrices;
  return tiers.filter(({ start }) => inputTokens > BigInt(start)).at(-1)?.price ?? base;
}

function scaledDecimal(value: number): bigint {
  const [whole = "", fraction = ""] = String(value).split(".");
  return BigInt(whole + fraction.padEnd(DECIMALS, "0"));
}

/** The package's totals contain their parts; ours are disjoint. */
function toPackageUsage(usage: UsageBuckets) {
  const written = usage.inputCacheWrite5mTokens + usage.inputCacheWrite1hTokens;
  return {
    input_tokens: Number(inputTokensOf(usage)),
    cache_read_tokens: Number(usage.inputCacheReadTokens),
    cache_write_tokens: Number(written),
    cache_write_1h_tokens: Number(usage.inputCacheWrite1hTokens),
    input_audio_tokens: Number(usage.inputAudioTokens),
    input_image_tokens: Number(usage.inputImageTokens),
    output_tokens: Number(outputTokensOf(usage)),
    output_reasoning_tokens: Number(usage.outputReasoningTokens),
    output_audio_tokens: Number(usage.outputAudioTokens),
    output_image_tokens: Number(usage.outputImageTokens),
    web_searches: Number(usage.searches),
  };
}
