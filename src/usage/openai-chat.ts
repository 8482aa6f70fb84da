/**
 * Reads the `usage` object of OpenAI chat completions, as in a full answer or in the last chunk of
 * a stream. Source: OpenAI API reference, "The chat completion object". `prompt_tokens` includes
 * cached and audio tokens, `completion_tokens` includes reasoning and audio tokens; rejected
 * predictions are billed as completion tokens and are inside `completion_tokens` too.
 */
import { z } from "zod";
import { emptyBuckets, type ReadUsage } from "./buckets.ts";

const tokens = z.number().int().nonnegative().nullish();

const usageSchema = z.looseObject({
  prompt_tokens: z.number().int().nonnegative(),
  completion_tokens: z.number().int().nonnegative().prefault(0),
  prompt_tokens_details: z
    .looseObject({ cached_tokens: tokens, cache_write_tokens: tokens, audio_tokens: tokens })
    .nullish(),
  completion_tokens_details: z
    .looseObject({ reasoning_tokens: tokens, audio_tokens: tokens })
    .nullish(),
});

/** Answers null when there is no usable usage object: the caller then settles by estimate. */
export function readOpenAiChatUsage(usage: unknown): ReadUsage | null {
  const parsed = usageSchema.safeParse(usage);
  if (!parsed.success) {
    return null;
  }
  const { prompt_tokens_details: prompt, completion_tokens_details: completion } = parsed.data;
  const cached = prompt?.cached_tokens ?? 0;
  const written = prompt?.cache_write_tokens ?? 0;
  const audioIn = prompt?.audio_tokens ?? 0;
  const reasoning = completion?.reasoning_tokens ?? 0;
  const audioOut = completion?.audio_tokens ?? 0;
  const uncached = parsed.data.prompt_tokens - cached - written - audioIn;
  const text = parsed.data.completion_tokens - reasoning - audioOut;
  // Details that exceed their total contradict it; a contradiction is not a usage report.
  if (uncached < 0 || text < 0) {
    return null;
  }
  return {
    buckets: {
      ...emptyBuckets,
      inputUncachedTokens: BigInt(uncached),
      inputCacheReadTokens: BigInt(cached),
      inputCacheWrite5mTokens: BigInt(written),
      inputAudioTokens: BigInt(audioIn),
      outputTextTokens: BigInt(text),
      outputReasoningTokens: BigInt(reasoning),
      outputAudioTokens: BigInt(audioOut),
    },
    providerUsage: parsed.data,
  };
}
