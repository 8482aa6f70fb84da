/** The most tokens that a chat completion can be billed for, read off its body. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { boundChat, type ChatBounds } from "../src/gateway/chat-bounds.ts";
import { parseChatRequest } from "../src/gateway/chat-request.ts";

const COMPLETION_TOKENS_DEFAULT = 4096;
const CONTEXT_TOKENS = 1_000_000n;
const IMAGE_TOKENS = 48_169n;

type Fields = Record<string, unknown>;

function textOf(fields: Fields): string {
  return JSON.stringify({
    model: "gpt-4o",
    messages: [{ role: "user", content: "hi" }],
    ...fields,
  });
}

function bound(fields: Fields, contextTokensMax: bigint | null = CONTEXT_TOKENS): ChatBounds {
  const bounds = boundChat(
    parseChatRequest(textOf(fields)),
    COMPLETION_TOKENS_DEFAULT,
    contextTokensMax,
  );
  if (bounds === null) {
    throw new Error("the request has no bound");
  }
  return bounds;
}

function bytesOf(fields: Fields): bigint {
  return BigInt(Buffer.byteLength(textOf(fields)));
}

/** One message with these parts. */
function parts(...content: unknown[]): Fields {
  return { messages: [{ role: "user", content }] };
}

const image = (url: string) => ({ type: "image_url", image_url: { url } });
const audio = (data: string) => ({ type: "input_audio", input_audio: { data, format: "mp3" } });
const file = { type: "file", file: { file_id: "file-1" } };

describe("the prompt", () => {
  test.each<[string, Fields]>([
    ["English", {}],
    ["emoji", { messages: [{ role: "user", content: "\ud83d\ude00".repeat(100) }] }],
    ["Chinese", { messages: [{ role: "user", content: "\u6f22\u5b57".repeat(100) }] }],
    ["text parts", parts({ type: "text", text: "hi" }, { type: "text", text: "there" })],
    ["a refusal", { messages: [{ role: "assistant", content: [{ type: "refusal" }] }] }],
    ["tools", { tools: [{ type: "function", function: { name: "f", parameters: {} } }] }],
    ["a schema", { response_format: { type: "json_schema", json_schema: { name: "x" } } }],
    ["a name and tool calls", { messages: [{ name: "x", content: null, tool_calls: [{}] }] }],
  ])("of %s has at most as many tokens as the body has bytes", (_, fields) => {
    expect(bound(fields).promptTokensMax).toBe(bytesOf(fields));
    expect(bound(fields, null).promptTokensMax).toBe(bytesOf(fields));
  });

  test("has at most as many tokens as the body has bytes, escaped as it may be", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.string(), (content, name) => {
        const text = textOf({ messages: [{ role: "user", name, content }] });
        const chat = parseChatRequest(text);
        const decodedBytes = Buffer.byteLength(content) + Buffer.byteLength(name);
        const promptTokensMax = boundChat(chat, 1, null)?.promptTokensMax ?? 0n;
        expect(promptTokensMax).toBeGreaterThanOrEqual(BigInt(decodedBytes));
        expect(promptTokensMax).toBe(BigInt(Buffer.byteLength(text)));
      }),
    );
  });

  test("never has more than the model's context", () => {
    const long = { messages: [{ role: "user", content: "x".repeat(1000) }] };
    expect(bound(long, 999n).promptTokensMax).toBe(999n);
    expect(bound(parts(image("https://a/b.png")), 8192n).promptTokensMax).toBe(8192n);
  });

  test("of images has the dearest image for each, and not the bytes of what is inline", () => {
    const inline = `data:image/png;base64,${"A".repeat(100_000)}`;
    const linked = parts(image("https://example.com/a.png"));
    expect(bound(linked).promptTokensMax).toBe(bytesOf(linked) + IMAGE_TOKENS);
    const both = parts(image(inline), image("https://example.com/a.png"), image(inline));
    expect(bound(both).promptTokensMax).toBe(
      bytesOf(both) - 2n * BigInt(inline.length) + 3n * IMAGE_TOKENS,
    );
  });

  test.each<[string, unknown]>([
    ["without an address", { type: "image_url" }],
    ["with null", { type: "image_url", image_url: null }],
    ["with the address in its place", { type: "image_url", image_url: "data:image/png;base64,A" }],
    ["with a number", { type: "image_url", image_url: { url: 7 } }],
    ["with an array", { type: "image_url", image_url: [] }],
  ])("of an image %s still has an image and all bytes", (_, part) => {
    expect(bound(parts(part)).promptTokensMax).toBe(bytesOf(parts(part)) + IMAGE_TOKENS);
  });

  test("of an image does not shrink by the text that stands beside its address", () => {
    const url = "data:image/png;base64,A";
    const part = { type: "image_url", image_url: { url }, text: "x".repeat(1000) };
    const fields = parts(part);
    expect(bound(fields).promptTokensMax).toBe(bytesOf(fields) - BigInt(url.length) + IMAGE_TOKENS);
  });

  test("of audio has a token for each 128 characters of it", () => {
    const data = "A".repeat(12_801);
    const fields = parts(audio(data));
    const expected = bytesOf(fields) - 12_801n + 101n;
    expect(bound(fields)).toMatchObject({ promptTokensMax: expected, hasAudio: true });
  });

  test.each<[string, Fields]>([
    ["a file", parts(file)],
    [
      "a file beside text and images",
      parts({ type: "text", text: "hi" }, image("https://a"), file),
    ],
    ["a part of an unknown kind", parts({ type: "video_url", video_url: { url: "https://a" } })],
    ["a part without a kind", parts({ image_url: { url: "https://a" } })],
    ["an earlier audio answer", { messages: [{ role: "assistant", audio: { id: "audio_1" } }] }],
  ])("with %s has the whole context, and no bound where that is unknown", (_, fields) => {
    expect(bound(fields).promptTokensMax).toBe(CONTEXT_TOKENS);
    expect(boundChat(parseChatRequest(textOf(fields)), 1, null)).toBeNull();
  });
});

describe("audio", () => {
  test.each<[string, Fields, boolean]>([
    ["nothing", {}, false],
    ["text only", { modalities: ["text"] }, false],
    ["an audio answer", { modalities: ["text", "audio"], audio: { voice: "alloy" } }, true],
    ["an audio part", parts(audio("AAAA")), true],
    ["an audio part without data", parts({ type: "input_audio" }), true],
    ["an earlier audio answer", { messages: [{ role: "assistant", audio: { id: "a" } }] }, true],
    ["null in place of one", { messages: [{ content: "hi", audio: null }] }, false],
  ])("is reckoned with for %s: %p", (_, fields, hasAudio) => {
    expect(bound(fields).hasAudio).toBe(hasAudio);
  });
});

describe("the completion", () => {
  test.each<[Fields, bigint, bigint]>([
    [{}, 4096n, 4096n],
    [{ max_tokens: null, max_completion_tokens: null }, 4096n, 4096n],
    [{ max_tokens: 7 }, 7n, 7n],
    [{ max_completion_tokens: 7 }, 7n, 7n],
    [{ max_tokens: 7, max_completion_tokens: 9 }, 9n, 9n],
    [{ max_tokens: 9, max_completion_tokens: 7 }, 9n, 9n],
    [{ n: null }, 4096n, 4096n],
    [{ n: 3 }, 4096n, 12_288n],
    [{ n: 128, max_tokens: 10 }, 10n, 1_280n],
    // Beyond what a JavaScript number can hold exactly.
    [
      { n: 128, max_tokens: 9_007_199_254_740_991 },
      9_007_199_254_740_991n,
      1_152_921_504_606_846_848n,
    ],
  ])("of %j has at most %p tokens a choice and %p together", (fields, perChoice, together) => {
    expect(bound(fields)).toMatchObject({
      completionTokensPerChoice: perChoice,
      completionTokensMax: together,
    });
  });
});

describe("searches", () => {
  test.each<[Fields, bigint]>([
    [{}, 0n],
    [{ web_search_options: null }, 0n],
    [{ web_search_options: {} }, 1n],
    [{ web_search_options: { search_context_size: "high" } }, 1n],
    // These search for every answer, asked or not.
    [{ model: "gpt-4o-search-preview" }, 1n],
    [{ model: "gpt-4o-mini-search-preview-2025-03-11" }, 1n],
    [{ model: "gpt-5-search-api" }, 1n],
  ])("of %j are at most %p", (fields, searchesMax) => {
    expect(bound(fields).searchesMax).toBe(searchesMax);
  });
});
