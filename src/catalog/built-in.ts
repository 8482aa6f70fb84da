/**
 * The price book of the build: the data inside `@pydantic/genai-prices`, made exact. A model id
 * resolves by its exact name, by a listed alias, or by an explicit dated pattern; never because it
 * begins like another one (`gpt-4` must not price `gpt-4.5`). Arithmetic is not here: pricing/.
 */
import {
  type ConditionalPrice,
  findProvider,
  type MatchLogic,
  type ModelInfo,
  type TieredPrices,
  type ModelPrice as UpstreamPrice,
} from "@pydantic/genai-prices";
import packageManifest from "../../package.json" with { type: "json" };
import { divideRoundingUp, nanoUsdFromPriceNumber } from "../money.ts";
import type { ModelPrice, ModelRates, PriceBook, TieredRate } from "./model-price.ts";

const SOURCE = `genai-prices@${packageManifest.dependencies["@pydantic/genai-prices"]}`;
const DATED_SUFFIX = "-\\d{4}-\\d{2}-\\d{2}";

/**
 * The list rounds context windows down: gpt-4.1 has 1,047,576 tokens and is listed with 1,000,000,
 * gpt-5.4 has 1,050,000. As a bound the window is therefore taken a twentieth larger.
 */
const CONTEXT_PERCENT = 105n;

/** The rates that pricing/ can bill, by the list's names for them. */
const BILLABLE_RATES = {
  input: "input_mtok",
  output: "output_mtok",
  cacheRead: "cache_read_mtok",
  cacheWrite: "cache_write_mtok",
  cacheWrite1h: "cache_write_1h_mtok",
  inputAudio: "input_audio_mtok",
  outputAudio: "output_audio_mtok",
  inputImage: "input_image_mtok",
  outputImage: "output_image_mtok",
  searchThousand: "web_searches_kcount",
} as const satisfies Record<keyof ModelRates, string>;

/** Listed for searches in uploaded files, which chat completions do not have. */
const RATES_OUTSIDE_CHAT: readonly string[] = ["storage_searches_kcount"];

const KNOWN_RATES: ReadonlySet<string> = new Set([
  ...Object.values(BILLABLE_RATES),
  ...RATES_OUTSIDE_CHAT,
]);

type DatedPrice = { startsAt: Date | null; price: ModelPrice };
type CatalogModel = { id: string; versions: readonly DatedPrice[] };
type ProviderModels = {
  byName: ReadonlyMap<string, CatalogModel>;
  byPattern: readonly { pattern: RegExp; model: CatalogModel }[];
};

/** Reads the named providers from the built-in data. Throws when a price cannot be made exact. */
export function openBuiltInPriceBook(providers: readonly string[]): PriceBook {
  const catalog = new Map(providers.map((provider) => [provider, readProvider(provider)]));
  return {
    priceOf(provider, model, at) {
      const models = catalog.get(provider);
      const found =
        models?.byName.get(model) ??
        models?.byPattern.find(({ pattern }) => pattern.test(model))?.model;
      return found === undefined ? null : versionAt(found, at);
    },
    modelsOf(provider) {
      return [...(catalog.get(provider)?.byName.keys() ?? [])].sort();
    },
  };
}

function readProvider(provider: string): ProviderModels {
  const byName = new Map<string, CatalogModel>();
  const byPattern: { pattern: RegExp; model: CatalogModel }[] = [];
  const found = findProvider({ providerId: provider });
  // The source also finds a provider whose name merely contains one that it knows.
  for (const info of found?.id === provider ? found.models : []) {
    const versions = readVersions(provider, info);
    if (versions.length === 0) {
      continue;
    }
    const model = { id: info.id, versions };
    const { names, patterns } = readMatch(info.match);
    for (const name of names) {
      // The first model of the list that matches has the name: the rule of the source.
      byName.set(name, byName.get(name) ?? model);
    }
    byPattern.push(...patterns.map((pattern) => ({ pattern, model })));
  }
  return { byName, byPattern };
}

function readMatch(match: MatchLogic): { names: string[]; patterns: RegExp[] } {
  if ("or" in match) {
    const parts = match.or.map(readMatch);
    return {
      names: parts.flatMap((part) => part.names),
      patterns: parts.flatMap((part) => part.patterns),
    };
  }
  if ("equals" in match) {
    return { names: [match.equals], patterns: [] };
  }
  if ("regex" in match && match.regex.startsWith("^") && match.regex.endsWith("$")) {
    return { names: [], patterns: [new RegExp(match.regex)] };
  }
  if ("starts_with" in match) {
    // A prefix is narrowed to the name itself, if it is one, and its dated releases.
    const name = match.starts_with.replace(/-$/, "");
    const escaped = name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
    return {
      names: name === match.starts_with ? [name] : [],
      patterns: [new RegExp(`^${escaped}${DATED_SUFFIX}$`)],
    };
  }
  return { names: [], patterns: [] };
}

function readVersions(provider: string, info: ModelInfo): DatedPrice[] {
  const conditional: ConditionalPrice[] = Array.isArray(info.prices)
    ? info.prices
    : [{ prices: info.prices }];
  if (conditional.some(({ constraint }) => constraint?.type === "time_of_date")) {
    // Prices by time of day are not expressible yet; no price is better than a wrong one.
    return [];
  }
  const versions: DatedPrice[] = [];
  for (const { constraint, prices } of conditional) {
    const startDate = constraint?.type === "start_date" ? constraint.start_date : null;
    const rates = readRates(prices);
    if (rates !== null) {
      const version = startDate === null ? "" : `@${startDate}`;
      versions.push({
        startsAt: startDate === null ? null : new Date(`${startDate}T00:00:00Z`),
        price: {
          provider,
          catalogModel: info.id,
          priceVersion: `${SOURCE}:${provider}/${info.id}${version}`,
          contextTokensMax: contextTokensMaxOf(info),
          rates,
        },
      });
    }
  }
  return versions;
}

function contextTokensMaxOf({ context_window: listed }: ModelInfo): bigint | null {
  return listed === undefined ? null : divideRoundingUp(BigInt(listed) * CONTEXT_PERCENT, 100n);
}

/** The last version in the list that has begun: the order and rule of the source. */
function versionAt(model: CatalogModel, at: Date): ModelPrice | null {
  const begun = model.versions.filter(({ startsAt }) => startsAt === null || startsAt <= at);
  return begun.at(-1)?.price ?? null;
}

function readRates(prices: UpstreamPrice): ModelRates | null {
  const listed = Object.keys(prices).filter((name) => prices[name] !== undefined);
  if (listed.some((name) => !KNOWN_RATES.has(name))) {
    // A fee for each request, for reasoning or for cached audio would go unbilled.
    return null;
  }
  const rates = Object.entries(BILLABLE_RATES).flatMap(([rate, name]) => {
    const tiered = readRate(prices[name]);
    return tiered === null ? [] : [[rate, tiered] as const];
  });
  const { input, output, ...optional }: Partial<ModelRates> = Object.fromEntries(rates);
  return input === undefined || output === undefined ? null : { input, output, ...optional };
}

function readRate(price: number | TieredPrices | undefined): TieredRate | null {
  if (price === undefined) {
    return null;
  }
  if (typeof price === "number") {
    return { baseNanoUsd: nanoUsdFromPriceNumber(price), tiers: [] };
  }
  return {
    baseNanoUsd: nanoUsdFromPriceNumber(price.base),
    tiers: price.tiers.map((tier) => ({
      aboveInputTokens: BigInt(tier.start),
      nanoUsd: nanoUsdFromPriceNumber(tier.price),
    })),
  };
}
