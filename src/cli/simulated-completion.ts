/**
 * What the provider simulator says, in the wire format of OpenAI's chat completions. Pure: the same
 * request gets the same text and the same counts. Source: OpenAI API reference, "Create chat
 * completion" and "Streaming".
 */

/** What of a request decides the answer. */
export type CompletionRequest = {
  readonly model: string;
  readonly choices: number;
  readonly promptTokens: number;
  /** Of each choice. */
  readonly completionTokens: number;
  readonly finishReason: "stop" | "length";
  /** Whether the stream ends with its usage, as `stream_options.include_usage` asks. */
  readonly includesUsage: boolean;
};

/** What is the same in every chunk of one answer. */
export type CompletionStamp = { readonly id: string; readonly createdSeconds: number };

/** English text has about four bytes a token; here it is always exactly four. */
const BYTES_PER_TOKEN = 4;
const SYSTEM_FINGERPRINT = "fp_simulator";

const ANSWER =
  "Because a limit that is checked afterwards is only a report. Reserving first means that a " +
  "call which does not fit is never made, and what was not used goes back at once.";

/** Filled up to whole tokens, so that it can be said again and again. */
const LOOP = ANSWER.padEnd(Math.ceil((ANSWER.length + 1) / BYTES_PER_TOKEN) * BYTES_PER_TOKEN);
const LOOP_TOKENS = LOOP.length / BYTES_PER_TOKEN;

/** How long the answer is when nobody asks for another length. */
export const NATURAL_COMPLETION_TOKENS = LOOP_TOKENS;

/** Tokens of a text, by its UTF-8 bytes; at least one. */
export function countTokens(text: string): number {
  return Math.max(1, Math.ceil(Buffer.byteLength(text) / BYTES_PER_TOKEN));
}

/** The whole answer as one object. */
export function completionBody(request: CompletionRequest, stamp: CompletionStamp): object {
  const content = LOOP.repeat(Math.ceil(request.completionTokens / LOOP_TOKENS)).slice(
    0,
    request.completionTokens * BYTES_PER_TOKEN,
  );
  return {
    ...head("chat.completion", request, stamp),
    choices: Array.from({ length: request.choices }, (_, index) => ({
      index,
      message: { role: "assistant", content, refusal: null, annotations: [] },
      logprobs: null,
      finish_reason: request.finishReason,
    })),
    usage: usageOf(request),
  };
}

/** The answer as server-sent events, one a token and choice, up to `data: [DONE]`. */
export function* completionEvents(
  request: CompletionRequest,
  stamp: CompletionStamp,
): Generator<string, void> {
  const start = JSON.stringify(head("chat.completion.chunk", request, stamp)).slice(0, -1);
  const usage = request.includesUsage ? ',"usage":null' : "";
  // Text and not JSON.stringify: a benchmark asks for millions of these.
  const chunk = (index: number, delta: string, finishReason: string) =>
    `data: ${start},"choices":[{"index":${index},"delta":${delta},"logprobs":null,` +
    `"finish_reason":${finishReason}}]${usage}}\n\n`;
  for (let index = 0; index < request.choices; index++) {
    yield chunk(index, '{"role":"assistant","content":"","refusal":null}', "null");
  }
  for (let token = 0; token < request.completionTokens; token++) {
    const at = (token % LOOP_TOKENS) * BYTES_PER_TOKEN;
    const delta = `{"content":"${LOOP.slice(at, at + BYTES_PER_TOKEN)}"}`;
    for (let index = 0; index < request.choices; index++) {
      yield chunk(index, delta, "null");
    }
  }
  for (let index = 0; index < request.choices; index++) {
    yield chunk(index, "{}", `"${request.finishReason}"`);
  }
  if (request.includesUsage) {
    yield `data: ${start},"choices":[],"usage":${JSON.stringify(usageOf(request))}}\n\n`;
  }
  yield "data: [DONE]\n\n";
}

function head(object: string, { model }: CompletionRequest, stamp: CompletionStamp): object {
  return {
    id: stamp.id,
    object,
    created: stamp.createdSeconds,
    model,
    service_tier: "default",
    system_fingerprint: SYSTEM_FINGERPRINT,
  };
}

function usageOf({ promptTokens, completionTokens, choices }: CompletionRequest): object {
  const completion = completionTokens * choices;
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completion,
    total_tokens: promptTokens + completion,
    prompt_tokens_details: { cached_tokens: 0, audio_tokens: 0 },
    completion_tokens_details: {
      reasoning_tokens: 0,
      audio_tokens: 0,
      accepted_prediction_tokens: 0,
      rejected_prediction_tokens: 0,
    },
  };
}
