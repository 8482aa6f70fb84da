/** What providers say was used, sorted into buckets that do not overlap; and what we guess. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  emptyBuckets,
  inputTokensOf,
  outputTokensOf,
  type UsageBuckets,
} from "../src/usage/buckets.ts";
import { estimateUsage } from "../src/usage/estimate.ts";
import { readOpenAiChatUsage } from "../src/usage/openai-chat.ts";
import { storableUsage } from "../src/usage/provider-usage.ts";

const total = { prompt_tokens: 100, completion_tokens: 50, total_tokens: 150 };

function prompt(details: unknown): unknown {
  return { ...total, prompt_tokens_details: details };
}

function completion(details: unknown): unknown {
  return { ...total, completion_tokens_details: details };
}

test("what PostgreSQL cannot store is taken out of a usage object", () => {
  const usage = { prompt_tokens: 1, completion_tokens: 2, note: "a\u0000b\ud800", list: [1, "x"] };
  const deep = { a: { b: { c: { d: { e: 1 } } } } };
  expect(storableUsage({ ...usage, deep })).toEqual({
    prompt_tokens: 1,
    completion_tokens: 2,
    note: "ab\ufffd",
    list: { 0: 1, 1: "x" },
    deep: { a: { b: { c: null } } },
  });
});

describe("an OpenAI usage object", () => {
  test.each<[string, unknown]>([
    ["nothing", undefined],
    ["null", null],
    ["text", JSON.stringify(total)],
    ["a number", 150],
    ["an array", [total]],
    ["an empty object", {}],
    ["the Responses API's names", { input_tokens: 100, output_tokens: 50 }],
    ["no prompt tokens", { completion_tokens: 50 }],
    ["prompt tokens that are null", { ...total, prompt_tokens: null }],
    ["negative prompt tokens", { ...total, prompt_tokens: -1 }],
    ["negative completion tokens", { ...total, completion_tokens: -1 }],
    ["half a token", { ...total, completion_tokens: 0.5 }],
    ["tokens as text", { ...total, prompt_tokens: "100" }],
    ["completion tokens as text", { ...total, completion_tokens: "50" }],
    ["not a number", { ...total, prompt_tokens: Number.NaN }],
    ["endless tokens", { ...total, prompt_tokens: Number.POSITIVE_INFINITY }],
    ["tokens that no number holds exactly", { ...total, prompt_tokens: 2 ** 53 }],
    ["details that are text", prompt("cached")],
    ["details that are a list", prompt([])],
    ["negative cached tokens", prompt({ cached_tokens: -1 })],
    ["cached tokens as text", prompt({ cached_tokens: "1" })],
    ["half a reasoning token", completion({ reasoning_tokens: 0.5 })],
    // A contradiction is not a usage report.
    ["more cached tokens than prompt tokens", prompt({ cached_tokens: 101 })],
    ["more audio tokens than prompt tokens", prompt({ audio_tokens: 101 })],
    ["parts that exceed the prompt together", prompt({ cached_tokens: 60, audio_tokens: 41 })],
    ["more reasoning than completion tokens", completion({ reasoning_tokens: 51 })],
    ["parts that exceed the completion", completion({ reasoning_tokens: 30, audio_tokens: 21 })],
  ])("that is or has %s is none", (_, usage) => {
    expect(readOpenAiChatUsage(usage)).toBeNull();
  });

  test.each<[string, unknown, Partial<UsageBuckets>]>([
    ["no details", total, { inputUncachedTokens: 100n, outputTextTokens: 50n }],
    [
      "details that are null",
      { ...total, prompt_tokens_details: null, completion_tokens_details: null },
      { inputUncachedTokens: 100n, outputTextTokens: 50n },
    ],
    [
      "details with nothing in them",
      { ...total, prompt_tokens_details: {}, completion_tokens_details: {} },
      { inputUncachedTokens: 100n, outputTextTokens: 50n },
    ],
    [
      "details full of nulls",
      prompt({ cached_tokens: null, audio_tokens: null, cache_write_tokens: null }),
      { inputUncachedTokens: 100n, outputTextTokens: 50n },
    ],
    ["no completion", { prompt_tokens: 100 }, { inputUncachedTokens: 100n }],
    ["nothing but zeros", { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 }, {}],
    [
      "cached tokens, which the prompt includes",
      prompt({ cached_tokens: 80 }),
      { inputUncachedTokens: 20n, inputCacheReadTokens: 80n, outputTextTokens: 50n },
    ],
    [
      "a prompt that was cached as a whole",
      prompt({ cached_tokens: 100, audio_tokens: 0 }),
      { inputCacheReadTokens: 100n, outputTextTokens: 50n },
    ],
    [
      "tokens written to the cache",
      prompt({ cached_tokens: 10, cache_write_tokens: 70 }),
      {
        inputUncachedTokens: 20n,
        inputCacheReadTokens: 10n,
        inputCacheWrite5mTokens: 70n,
        outputTextTokens: 50n,
      },
    ],
    [
      "reasoning, which the completion includes",
      completion({ reasoning_tokens: 48 }),
      { inputUncachedTokens: 100n, outputTextTokens: 2n, outputReasoningTokens: 48n },
    ],
    [
      "rejected predictions, which are billed as completion",
      completion({
        reasoning_tokens: 0,
        audio_tokens: 0,
        accepted_prediction_tokens: 5,
        rejected_prediction_tokens: 30,
      }),
      { inputUncachedTokens: 100n, outputTextTokens: 50n },
    ],
    [
      "audio in both directions",
      {
        prompt_tokens: 200,
        completion_tokens: 300,
        total_tokens: 500,
        prompt_tokens_details: { text_tokens: 150, audio_tokens: 50, cached_tokens: 0 },
        completion_tokens_details: { text_tokens: 40, audio_tokens: 260, reasoning_tokens: 0 },
      },
      {
        inputUncachedTokens: 150n,
        inputAudioTokens: 50n,
        outputTextTokens: 40n,
        outputAudioTokens: 260n,
      },
    ],
    [
      "the largest exact numbers",
      { prompt_tokens: Number.MAX_SAFE_INTEGER, completion_tokens: 1 },
      { inputUncachedTokens: 9_007_199_254_740_991n, outputTextTokens: 1n },
    ],
  ])("with %s is sorted into buckets", (_, usage, buckets) => {
    expect(readOpenAiChatUsage(usage)?.buckets).toEqual({ ...emptyBuckets, ...buckets });
  });

  test("is kept as it came, with the fields that nobody knows", () => {
    const usage = { ...total, queue_time: 0.25, prompt_tokens_details: { image_tokens: 3 } };
    expect(readOpenAiChatUsage(usage)?.providerUsage).toEqual(usage);
  });

  test("makes buckets that add up to its totals, or is refused", () => {
    const tokens = fc.nat({ max: 1_000_000 });
    const part = fc.option(fc.oneof(fc.nat({ max: 300_000 }), fc.constant(0)));
    fc.assert(
      fc.property(
        tokens,
        tokens,
        fc.option(fc.record({ cached_tokens: part, cache_write_tokens: part, audio_tokens: part })),
        fc.option(fc.record({ reasoning_tokens: part, audio_tokens: part })),
        (promptTokens, completionTokens, promptDetails, completionDetails) => {
          const read = readOpenAiChatUsage({
            prompt_tokens: promptTokens,
            completion_tokens: completionTokens,
            prompt_tokens_details: promptDetails,
            completion_tokens_details: completionDetails,
          });
          const sum = (details: Record<string, number | null> | null) =>
            Object.values(details ?? {}).reduce<number>((all, count) => all + (count ?? 0), 0);
          const isPossible =
            sum(promptDetails) <= promptTokens && sum(completionDetails) <= completionTokens;
          expect(read !== null).toBe(isPossible);
          if (read !== null) {
            expect(inputTokensOf(read.buckets)).toBe(BigInt(promptTokens));
            expect(outputTokensOf(read.buckets)).toBe(BigInt(completionTokens));
            expect(Object.values(read.buckets).every((count) => count >= 0n)).toBe(true);
          }
        },
      ),
      { numRuns: 1_000 },
    );
  });
});

describe("an estimate", () => {
  test.each([
    // [prompt's bound, completion's bound, bytes seen, input tokens, output tokens]
    [400n, 100n, null, 100n, 100n],
    [400n, 100n, 40n, 100n, 10n],
    [400n, 100n, 41n, 100n, 11n],
    [400n, 100n, 4_000_000n, 100n, 100n],
    [400n, 100n, 0n, 100n, 1n],
    [1n, 1n, 0n, 1n, 1n],
  ])("of bounds %p and %p with %p bytes seen", (promptMax, completionMax, bytes, input, output) => {
    const bounds = { promptTokensMax: promptMax, completionTokensMax: completionMax };
    const usage = estimateUsage(bounds, bytes);
    expect(usage).toEqual({
      ...emptyBuckets,
      inputUncachedTokens: input,
      outputTextTokens: output,
    });
  });

  test("is never nothing and never above the bounds", () => {
    const counts = fc.bigInt({ min: 1n, max: 10n ** 9n });
    fc.assert(
      fc.property(counts, counts, fc.option(fc.bigInt(0n, 10n ** 10n)), (prompts, most, bytes) => {
        const usage = estimateUsage({ promptTokensMax: prompts, completionTokensMax: most }, bytes);
        for (const [tokens, max] of [
          [inputTokensOf(usage), prompts],
          [outputTokensOf(usage), most],
        ] as const) {
          expect(tokens).toBeGreaterThan(0n);
          expect(tokens).toBeLessThanOrEqual(max);
        }
      }),
    );
  });
});
