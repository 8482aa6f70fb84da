/** Model grants: which provider and model a key may use (F20, F21, F23 to F25, F46). */
import { describe, expect, test } from "bun:test";
import type { Allowlist } from "../src/budgets/applicable.ts";
import { PublicError } from "../src/errors.ts";
import type { ApiKeyFacts } from "../src/keys/authority.ts";
import { isGranted, requireGranted } from "../src/keys/model-grant.ts";

const apiKey: ApiKeyFacts = {
  id: "key_1",
  epoch: 1n,
  secretHmac: new Uint8Array(32),
  environment: "production",
  allowedProviders: [],
  allowedModels: ["gpt-4o"],
  reservationMaxNanoUsd: null,
  isActive: true,
  expiresAt: null,
  revokedAt: null,
  archived: null,
  previousSecret: null,
};

function list(fields: Partial<Allowlist>): Allowlist {
  return { policyId: "pol_1", policyName: "List", providers: null, models: null, ...fields };
}

/** The refusal's code, or null. */
function refusalOf(
  provider: string,
  model: string,
  key: Partial<ApiKeyFacts> = {},
  allowlists: readonly Allowlist[] = [],
): string | null {
  try {
    requireGranted({ ...apiKey, ...key }, allowlists, provider, model);
    return null;
  } catch (error) {
    if (error instanceof PublicError) {
      return error.code;
    }
    throw error;
  }
}

describe("a grant", () => {
  test.each([
    // Nothing grants nothing.
    [[], "openai", "gpt-4o", false],
    // A bare id means OpenAI only.
    [["gpt-4o"], "openai", "gpt-4o", true],
    [["gpt-4o"], "openrouter", "gpt-4o", false],
    [["gpt-4o"], "azure", "gpt-4o", false],
    [["gpt-4o"], "openai", "gpt-4o-mini", false],
    [["gpt-4o"], "openai", "gpt-4", false],
    [["gpt-4o"], "openai", "gpt-4o-2024-08-06", false],
    [["gpt-4o"], "openai", "GPT-4o", false],
    [["gpt-4o"], "openai", "gpt-4o ", false],
    [["gpt-4o"], "openai", "", false],
    [[""], "openai", "gpt-4o", false],
    // OpenAI may be written out as well.
    [["openai/gpt-4o"], "openai", "gpt-4o", true],
    [["openai/gpt-4o"], "openrouter", "openai/gpt-4o", false],
    [["openai/gpt-4o"], "openai", "openai/gpt-4o", false],
    // Every other provider has to be named.
    [["anthropic/claude-opus-5"], "anthropic", "claude-opus-5", true],
    [["claude-opus-5"], "anthropic", "claude-opus-5", false],
    [["vertexai/google/gemini-2.0-flash"], "vertexai", "google/gemini-2.0-flash", true],
    [["vertexai/google/gemini-2.0-flash"], "google", "gemini-2.0-flash", false],
    [["google/gemini-2.0-flash"], "vertexai", "google/gemini-2.0-flash", false],
    // The same model at two providers, both ways.
    [["openrouter/openai/gpt-4.1-mini"], "openrouter", "openai/gpt-4.1-mini", true],
    [["openrouter/openai/gpt-4.1-mini"], "openai", "gpt-4.1-mini", false],
    [["openrouter/openai/gpt-4.1-mini"], "openai", "openai/gpt-4.1-mini", false],
    [["openrouter/openai/gpt-4.1-mini"], "openai", "openrouter/openai/gpt-4.1-mini", false],
    [["gpt-4.1-mini"], "openrouter", "openai/gpt-4.1-mini", false],
    [["openai/gpt-4.1-mini"], "openrouter", "openai/gpt-4.1-mini", false],
    // All models of one provider.
    [["*"], "openai", "gpt-4o", true],
    [["*"], "openrouter", "openai/gpt-4o", false],
    [["openai/*"], "openai", "gpt-4o", true],
    [["openai/*"], "openrouter", "openai/gpt-4o", false],
    [["openrouter/*"], "openrouter", "openai/gpt-4o", true],
    [["openrouter/*"], "openai", "gpt-4o", false],
    // A star is nothing but that.
    [["gpt-*"], "openai", "gpt-4o", false],
    [["openrouter/openai/*"], "openrouter", "openai/gpt-4o", false],
    [["*/*"], "openrouter", "gpt-4o", false],
    // One of several is enough.
    [["o3", "openrouter/*", "gpt-4o"], "openai", "gpt-4o", true],
  ])("of %j gives %s the model %j: %p", (grants, provider, model, isCovered) => {
    expect(isGranted(grants, provider, model)).toBe(isCovered);
  });
});

describe("a request", () => {
  test.each<[string, string, Partial<ApiKeyFacts>, Allowlist[], string]>([
    ["openai", "gpt-4o-mini", {}, [], "model_not_allowed"],
    ["openrouter", "gpt-4o", {}, [], "model_not_allowed"],
    ["openai", "gpt-4o", { allowedModels: [] }, [], "model_not_allowed"],
    ["openai", "gpt-4o", { allowedProviders: ["azure"] }, [], "provider_not_allowed"],
    // Every list counts, not just the nearest, and an empty list allows nothing.
    ["openai", "gpt-4o", {}, [list({ providers: [] })], "provider_not_allowed"],
    ["openai", "gpt-4o", {}, [list({ models: [] })], "model_not_allowed"],
    [
      "openai",
      "gpt-4o",
      {},
      [list({ models: ["gpt-4o"] }), list({ models: ["o3"] })],
      "model_not_allowed",
    ],
    [
      "openai",
      "gpt-4o",
      {},
      [list({ providers: ["openai"] }), list({ providers: ["azure"] })],
      "provider_not_allowed",
    ],
    ["openai", "gpt-4o", {}, [list({ models: ["openrouter/*"] })], "model_not_allowed"],
    // The provider is judged before the model.
    ["openai", "o3", { allowedProviders: ["azure"] }, [], "provider_not_allowed"],
  ])("to %s for %s is refused (%#)", (provider, model, key, allowlists, code) => {
    expect(refusalOf(provider, model, key, allowlists)).toBe(code);
  });

  test("refused for its model names the field", () => {
    expect(() => requireGranted(apiKey, [], "openai", "o3")).toThrow(
      expect.objectContaining({ status: 403, param: "model" }),
    );
  });

  test.each<[string, string, Partial<ApiKeyFacts>, Allowlist[]]>([
    ["openai", "gpt-4o", {}, []],
    ["openai", "gpt-4o", { allowedProviders: ["openai"] }, []],
    ["openai", "gpt-4o", {}, [list({})]],
    ["openai", "gpt-4o", {}, [list({ models: ["openai/gpt-4o"] }), list({ models: ["*"] })]],
    ["azure", "gpt-4o", { allowedModels: ["azure/*"] }, [list({ models: ["azure/gpt-4o"] })]],
  ])(
    "to %s for %s passes when key and every list contain it (%#)",
    (provider, model, key, lists) => {
      expect(refusalOf(provider, model, key, lists)).toBeNull();
    },
  );
});
