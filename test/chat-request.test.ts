/** A chat completion's body, checked before any money is held. */
import { describe, expect, test } from "bun:test";
import { PublicError } from "../src/errors.ts";
import { type ChatRequest, parseChatRequest } from "../src/gateway/chat-request.ts";

const valid = { model: "gpt-4o", messages: [{ role: "user", content: "hi" }] };

function refusalOf(text: string): PublicError {
  try {
    parseChatRequest(text);
  } catch (error) {
    if (error instanceof PublicError) {
      return error;
    }
    throw error;
  }
  throw new Error(`was not refused: ${text.slice(0, 100)}`);
}

function parse(fields: Record<string, unknown>): ChatRequest {
  return parseChatRequest(JSON.stringify({ ...valid, ...fields }));
}

describe("a body", () => {
  test.each([
    ["nothing", ""],
    ["blanks", " \n"],
    ["not JSON", "{"],
    ["a prompt's text", '{"model":"gpt-4o","messages":"canary'],
    ["a trailing comma", '{"model":"gpt-4o",}'],
    ["single quotes", "{'model':'gpt-4o'}"],
    ["a comment", '{"model":"gpt-4o" /* canary */}'],
    ["a byte order mark", '\ufeff{"model":"gpt-4o"}'],
    ["two objects", "{}{}"],
    ["NaN", '{"n":NaN}'],
    ["null", "null"],
    ["an array", '[{"model":"gpt-4o"}]'],
    ["a string", '"canary"'],
    ["a number", "1"],
  ])("that is %s is refused, and not quoted", (_, text) => {
    const refusal = refusalOf(text);
    expect(refusal).toMatchObject({ code: "invalid_request", status: 400, param: null });
    expect(refusal.message).not.toContain("canary");
  });
});

describe("a field", () => {
  const message = (content: unknown) => [{ role: "user", content }];

  test.each<[string, Record<string, unknown>]>([
    ["model", { model: undefined }],
    ["model", { model: null }],
    ["model", { model: "" }],
    ["model", { model: 4 }],
    ["model", { model: ["gpt-4o"] }],
    ["model", { model: "m".repeat(201) }],
    ["messages", { messages: undefined }],
    ["messages", { messages: null }],
    ["messages", { messages: [] }],
    ["messages", { messages: "hi" }],
    ["messages", { messages: { 0: "hi" } }],
    ["messages.0", { messages: ["hi"] }],
    ["messages.0", { messages: [null] }],
    ["messages.1", { messages: [{ content: "hi" }, 7] }],
    ["messages.0.content", { messages: message(1) }],
    ["messages.0.content", { messages: message({ type: "text" }) }],
    ["messages.0.content", { messages: message(true) }],
    ["messages.0.content", { messages: message(["hi"]) }],
    ["messages.0.content", { messages: message([null]) }],
    ["messages.0.content", { messages: message([{ type: 1 }]) }],
    ["stream", { stream: "true" }],
    ["stream", { stream: 1 }],
    ["stream_options", { stream_options: true }],
    ["stream_options", { stream_options: [] }],
    ["stream_options", { stream_options: "x" }],
    ["stream_options.include_usage", { stream_options: { include_usage: "true" } }],
    ["stream_options.include_usage", { stream_options: { include_usage: 1 } }],
    ["max_tokens", { max_tokens: "7" }],
    ["max_tokens", { max_tokens: 0 }],
    ["max_tokens", { max_tokens: -1 }],
    ["max_tokens", { max_tokens: 1.5 }],
    ["max_tokens", { max_tokens: 1e30 }],
    ["max_tokens", { max_tokens: 2 ** 53 }],
    ["max_tokens", { max_tokens: true }],
    ["max_tokens", { max_tokens: [7] }],
    ["max_completion_tokens", { max_completion_tokens: 0 }],
    ["max_completion_tokens", { max_completion_tokens: "7" }],
    ["max_completion_tokens", { max_completion_tokens: {} }],
    ["n", { n: 0 }],
    ["n", { n: -1 }],
    ["n", { n: 129 }],
    ["n", { n: 1.5 }],
    ["n", { n: "2" }],
    ["modalities", { modalities: "audio" }],
    ["modalities.1", { modalities: ["text", 1] }],
    ["service_tier", { service_tier: 1 }],
    ["web_search_options", { web_search_options: true }],
    ["web_search_options", { web_search_options: [] }],
  ])("%s of a wrong kind is refused and named (%#)", (param, fields) => {
    const refusal = refusalOf(JSON.stringify({ ...valid, ...fields }));
    expect(refusal).toMatchObject({ code: "invalid_request", status: 400, param });
    expect(refusal.message).toStartWith(`${param}: `);
  });

  test("of a number too large for JavaScript is refused", () => {
    const text = JSON.stringify({ ...valid, n: 7 }).replace(":7", ":1e999");
    expect(refusalOf(text).param).toBe("n");
  });

  test("inherited from __proto__ is not the caller's", () => {
    const own = JSON.stringify(valid).slice(1);
    const chat = parseChatRequest(`{"__proto__":{"max_tokens":1,"n":9,"stream":true},${own}`);
    expect(chat.body.max_tokens).toBeUndefined();
    expect(chat.body.n).toBeUndefined();
    expect(chat.isStreaming).toBe(false);
    expect({}).not.toHaveProperty("max_tokens");
  });
});

describe("a name that is given twice", () => {
  const rest = JSON.stringify(valid).slice(1, -1);

  test.each([
    ["max_tokens", `{"max_tokens":1,${rest},"max_tokens":100000}`],
    ["max_tokens", `{"max_tokens":1,${rest},"max\\u005ftokens":100000}`],
    ["max_tokens", `{"\\u006dax_tokens":1,${rest},"max_token\\u0073":100000}`],
    ["n", `{"n":1,${rest},"n":1}`],
    ["n", `{"n":1,${rest},"\\u006E":128}`],
    ["model", `{${rest},"model":"gpt-4o-mini"}`],
    ["messages", `{"messages":[],${rest}}`],
    ["stream", `{${rest},"stream":true,"stream":false}`],
    ["user", `{${rest},"user":"a","user":"b"}`],
    ["__proto__", `{${rest},"__proto__":1,"__proto__":2}`],
    ["", `{${rest},"":1,"":2}`],
    // Spendra writes into these as well.
    [
      "stream_options.include_usage",
      `{${rest},"stream":true,"stream_options":{"include_usage":true,"include_usage":false}}`,
    ],
    [
      "stream_options.include_usage",
      `{${rest},"stream_options": {"include_usage":false,"include\\u005fusage":false}}`,
    ],
  ])("is refused and named: %s (%#)", (param, text) => {
    const refusal = refusalOf(text);
    expect(refusal).toMatchObject({ code: "invalid_request", param });
    expect(refusal.message).toBe(`${param}: is given twice`);
  });

  test("is quoted no further than 100 characters", () => {
    const name = "x".repeat(100_000);
    expect(refusalOf(`{${rest},"${name}":1,"${name}":2}`).param).toHaveLength(100);
  });

  test("is none when the names are at different depths or only look alike", () => {
    const text = `{${rest},"n":1,"N":2,"metadata":{"n":"3","model":"x"},"user":"n\\":1"}`;
    expect(parseChatRequest(text).body.n).toBe(1);
  });
});

describe("a good request", () => {
  test("keeps its text and every field that is not looked at", () => {
    const text = `\n {"seed" : 1e2,${JSON.stringify(valid).slice(1)} `;
    const chat = parseChatRequest(text);
    expect(chat.text).toBe(text);
    expect(chat.body).toMatchObject({ ...valid, seed: 100 });
  });

  test.each<[Record<string, unknown>, boolean, boolean]>([
    [{}, false, false],
    [{ stream: null, stream_options: null }, false, false],
    [{ stream: false }, false, false],
    [{ stream: true }, true, false],
    [{ stream: true, stream_options: {} }, true, false],
    [{ stream: true, stream_options: { include_usage: null } }, true, false],
    [{ stream: true, stream_options: { include_usage: false } }, true, false],
    [{ stream: true, stream_options: { include_usage: true } }, true, true],
  ])("with %j streams: %p, wants the usage: %p", (fields, isStreaming, wantsUsageChunk) => {
    expect(parse(fields)).toMatchObject({ isStreaming, wantsUsageChunk });
  });

  test.each<Record<string, unknown>>([
    { messages: [{ role: "assistant", content: null, tool_calls: [] }] },
    { messages: [{ role: "assistant" }] },
    { messages: [{ role: "user", content: [] }] },
    { messages: [{ role: "user", content: [{ type: "text", text: "hi" }] }] },
    { n: 128 },
    { n: null, max_tokens: null, max_completion_tokens: null, modalities: null },
    { max_tokens: 1, max_completion_tokens: Number.MAX_SAFE_INTEGER },
    { service_tier: "flex", web_search_options: {} },
  ])("may have %j", (fields) => {
    expect(parse(fields).body).toMatchObject(fields);
  });

  test("of a hundred thousand messages is read in time", () => {
    const messages = Array.from({ length: 100_000 }, () => ({ role: "user", content: "hi" }));
    const startedMs = performance.now();
    expect(parse({ messages }).body.messages).toHaveLength(100_000);
    expect(performance.now() - startedMs).toBeLessThan(3_000);
  });
});
