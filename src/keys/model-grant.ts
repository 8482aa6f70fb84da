/**
 * Which models a key may use. Grants know their provider: a bare id means OpenAI, every other
 * provider is written in front, so that `openrouter/openai/gpt-4.1-mini` grants nothing at OpenAI
 * and `gpt-4.1-mini` nothing at OpenRouter. `*` is every model of the provider.
 */
import type { Allowlist } from "../budgets/applicable.ts";
import { PublicError } from "../errors.ts";
import type { ApiKeyFacts } from "./authority.ts";

const BARE_PROVIDER = "openai";

/** Throws `PublicError` unless key and allowlists all contain this provider and model. */
export function requireGranted(
  apiKey: ApiKeyFacts,
  allowlists: readonly Allowlist[],
  provider: string,
  model: string,
): void {
  const providerLists = [
    apiKey.allowedProviders.length === 0 ? null : apiKey.allowedProviders,
    ...allowlists.map(({ providers }) => providers),
  ];
  if (providerLists.some((list) => list !== null && !list.includes(provider))) {
    throw new PublicError("provider_not_allowed", `The key may not use ${provider}.`);
  }
  const modelLists = [apiKey.allowedModels, ...allowlists.map(({ models }) => models)];
  if (modelLists.some((list) => list !== null && !isGranted(list, provider, model))) {
    throw new PublicError("model_not_allowed", `The key may not use the model ${model}.`, {
      param: "model",
    });
  }
}

/** Whether one of the grants covers the model at that provider. */
export function isGranted(grants: readonly string[], provider: string, model: string): boolean {
  return (
    grants.includes(`${provider}/${model}`) ||
    grants.includes(`${provider}/*`) ||
    (provider === BARE_PROVIDER && isBareGrant(grants, model))
  );
}

/** A grant with a slash in it names a provider, so it is never the bare name of a model. */
function isBareGrant(grants: readonly string[], model: string): boolean {
  return grants.includes("*") || (!model.includes("/") && grants.includes(model));
}
