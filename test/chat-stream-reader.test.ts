/** A chat completion's stream read on the side: its usage, its end, and nothing changed in it. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { ChatStreamReader } from "../src/gateway/chat-stream-reader.ts";

const USAGE = { prompt_tokens: 11, completion_tokens: 7, total_tokens: 18 };

function chunk(fields: Record<string, unknown>): string {
  return JSON.stringify({ id: "chatcmpl-1", object: "chat.completion.chunk", ...fields });
}

function delta(content: string): string {
  return chunk({ choices: [{ index: 0, delta: { content }, finish_reason: null }] });
}

const usageChunk = chunk({ choices: [], usage: USAGE });

type Reading = { forward: string; end: string; reader: ChatStreamReader };

/** Reads a stream in chunks of this many bytes; what is left at the end belongs to `end`. */
function read(stream: string, hidesUsageChunk: boolean, chunkBytes = 65_536): Reading {
  const reader = new ChatStreamReader({ hidesUsageChunk });
  const bytes = Buffer.from(stream);
  const forward: Buffer[] = [];
  const end: Buffer[] = [];
  for (let start = 0; start < bytes.length; start += chunkBytes) {
    const pushed = reader.push(bytes.subarray(start, start + chunkBytes));
    forward.push(...pushed.forward);
    end.push(...pushed.end);
  }
  end.push(reader.rest());
  return {
    forward: Buffer.concat(forward).toString(),
    end: Buffer.concat(end).toString(),
    reader,
  };
}

function sse(newline: string, ...data: string[]): string {
  return data.map((text) => `data: ${text}${newline}${newline}`).join("");
}

describe("the usage chunk", () => {
  test.each(["\n", "\r\n", "\r"])("is taken out where it is hidden (line end %j)", (newline) => {
    const before = sse(newline, delta("Hello"), delta(" world"));
    const done = sse(newline, "[DONE]");
    for (const chunkBytes of [1, 7, 65_536]) {
      const stream = before + sse(newline, usageChunk) + done;
      const { forward, end, reader } = read(stream, true, chunkBytes);
      expect(forward + end).toBe(before + done);
      expect(reader.usage?.buckets).toMatchObject({
        inputUncachedTokens: 11n,
        outputTextTokens: 7n,
      });
      expect(reader.usage?.providerUsage).toEqual(USAGE);
    }
  });

  test("is passed on where the caller has asked for it", () => {
    const before = sse("\n", delta("Hello"), usageChunk);
    const { forward, end, reader } = read(before + sse("\n", "[DONE]"), false);
    expect(forward).toBe(before);
    expect(end).toBe(sse("\n", "[DONE]"));
    expect(reader.usage).not.toBeNull();
  });

  test.each<[string, string]>([
    ["several data lines", `data: {"choices":[],\ndata: "usage":${JSON.stringify(USAGE)}}\n\n`],
    ["a comment and a name", `: note\nevent: message\nid: 3\ndata: ${usageChunk}\n\n`],
    ["a byte order mark", `\ufeffdata: ${usageChunk}\n\n`],
    ["no blank behind the colon", `data:${usageChunk}\n\n`],
    ["no empty line behind it", `data: ${usageChunk}`],
    ["one line end behind it", `data: ${usageChunk}\n`],
    ["odd white space", `data: { "choices" : [ ] , "usage" : ${JSON.stringify(USAGE)} }\n\n`],
  ])("with %s is read and taken out", (_, event) => {
    const { forward, end, reader } = read(event, true);
    expect(forward + end).toBe("");
    expect(reader.usage?.buckets.inputUncachedTokens).toBe(11n);
  });

  test.each<[string, string]>([
    ["beside a choice", chunk({ choices: [{ index: 0, delta: {} }], usage: USAGE })],
    ["without choices", chunk({ usage: USAGE })],
    ["with choices that are null", chunk({ choices: null, usage: USAGE })],
  ])("%s counts, but stays in the stream", (_, data) => {
    const { forward, reader } = read(sse("\n", data), true);
    expect(forward).toBe(sse("\n", data));
    expect(reader.usage?.buckets.outputTextTokens).toBe(7n);
  });

  test("that comes several times counts as it came last", () => {
    const later = chunk({ choices: [], usage: { ...USAGE, completion_tokens: 9 } });
    const broken = chunk({ choices: [], usage: { ...USAGE, completion_tokens: -9 } });
    const { forward, reader } = read(sse("\n", usageChunk, later, broken), true);
    expect(reader.usage?.buckets.outputTextTokens).toBe(9n);
    // What is no usage is not ours to hide.
    expect(forward).toBe(sse("\n", broken));
  });
});

describe("a chunk that only looks like usage", () => {
  test.each<[string, string]>([
    ["usage in the content", delta(`{"choices":[],"usage":${JSON.stringify(USAGE)}}`)],
    ["an event in the content", delta(`\n\ndata: ${usageChunk}\n\n`)],
    ["usage deeper down", chunk({ choices: [], metadata: { usage: USAGE } })],
    ["the word among the logprobs", chunk({ choices: [{ logprobs: [{ token: "usage" }] }] })],
    ["usage that is null", chunk({ choices: [], usage: null })],
    ["usage that is empty", chunk({ choices: [], usage: {} })],
    ["usage that is text", chunk({ choices: [], usage: JSON.stringify(USAGE) })],
    ["usage with negative tokens", chunk({ choices: [], usage: { prompt_tokens: -1 } })],
    ["usage in an array", `[${usageChunk}]`],
    ["usage that is cut off", usageChunk.slice(0, -1)],
    ["a number", '1 "usage"'],
    ["null", 'null "usage"'],
  ])("because of %s is passed on and not counted", (_, data) => {
    for (const hidesUsageChunk of [true, false]) {
      const { forward, end, reader } = read(sse("\n", data), hidesUsageChunk);
      expect(forward).toBe(sse("\n", data));
      expect(end).toBe("");
      expect(reader.usage).toBeNull();
    }
  });
});

describe("the end", () => {
  test.each<[string, string]>([
    ["alone", "data: [DONE]\n\n"],
    ["with CR LF", "data: [DONE]\r\n\r\n"],
    ["without a blank", "data:[DONE]\n\n"],
    ["with blanks around", "data:  [DONE] \n\n"],
    ["with a name and a long id", `event: done\nid: ${"7".repeat(80)}\ndata: [DONE]\n\n`],
    ["without an empty line", "data: [DONE]"],
    ["with more behind it", "data: [DONE]\n\n: bye\n\ndata: more\n\n"],
    ["twice", "data: [DONE]\n\ndata: [DONE]\n\n"],
  ])("%s is held back, with all that follows", (_, end) => {
    const before = sse("\n", delta("Hello"));
    for (const chunkBytes of [1, 5, 65_536]) {
      expect(read(before + end, true, chunkBytes)).toMatchObject({ forward: before, end });
    }
  });

  test.each<[string, string]>([
    ["a short chunk that says it", '{"choices":[{"delta":{"content":"[DONE]"}}]}'],
    ["a text beside it", "[DONE] and more"],
    ["quotes", '"[DONE]"'],
    ["small letters", "[done]"],
  ])("is not seen in %s", (_, data) => {
    const stream = sse("\n", data, delta("more"));
    expect(read(stream, true)).toMatchObject({ forward: stream, end: "" });
  });

  test("is not seen in a comment", () => {
    const stream = `: [DONE]\n\n${sse("\n", delta("more"))}`;
    expect(read(stream, true)).toMatchObject({ forward: stream, end: "" });
  });

  test("of a stream that breaks off is what was left of it", () => {
    const before = sse("\n", delta("Hello"));
    const { forward, end, reader } = read(`${before}data: {"choi`, true);
    expect({ forward, end }).toEqual({ forward: before, end: 'data: {"choi' });
    expect(reader.usage).toBeNull();
  });
});

describe("any stream", () => {
  const newlines = fc.constantFrom("\n", "\r\n", "\r");
  const data = fc.oneof(
    fc.string({ unit: "binary" }).map((text) => delta(text.toWellFormed())),
    fc.constantFrom(usageChunk, "[DONE]", "not JSON", '"usage"', ""),
  );
  const streams = fc
    .array(fc.tuple(data, newlines), { maxLength: 12 })
    .map((list) => list.map(([text, newline]) => sse(newline, text)).join(""));

  test("passes byte for byte when nothing is hidden, in any chunks", () => {
    fc.assert(
      fc.property(streams, fc.integer({ min: 1, max: 100 }), (stream, chunkBytes) => {
        const { forward, end } = read(stream, false, chunkBytes);
        expect(forward + end).toBe(stream);
      }),
      { numRuns: 500 },
    );
  });

  test("lacks its usage chunks and nothing else when they are hidden", () => {
    fc.assert(
      fc.property(streams, fc.integer({ min: 1, max: 100 }), (stream, chunkBytes) => {
        const { forward, end, reader } = read(stream, true, chunkBytes);
        const expected = ["\r\n", "\n", "\r"].reduce(
          (text, newline) => text.replaceAll(sse(newline, usageChunk), ""),
          stream,
        );
        expect(forward + end).toBe(expected);
        expect(reader.usage !== null).toBe(stream.includes(usageChunk));
      }),
      { numRuns: 500 },
    );
  });

  test("of five megabytes is read in time, in chunks of 1 byte, 1 KB and 64 KB", () => {
    const stream = sse("\n", delta("x".repeat(100)), delta("[DONE] usage")).repeat(12_000);
    expect(stream.length).toBeGreaterThan(5e6 * 0.8);
    for (const chunkBytes of [1, 1024, 65_536]) {
      const startedMs = performance.now();
      const { forward, end } = read(stream + sse("\n", "[DONE]"), true, chunkBytes);
      expect(performance.now() - startedMs).toBeLessThan(5_000);
      expect(forward.length + end.length).toBe(stream.length + "data: [DONE]\n\n".length);
    }
  });
});

describe("the text that went by", () => {
  test("is never nothing once an event was seen, and grows with the text", () => {
    expect(read("", true).reader.completionBytes).toBe(0n);
    const short = read(sse("\n", delta("a")), true).reader.completionBytes;
    const long = read(sse("\n", delta("a".repeat(10_000))), true).reader.completionBytes;
    expect(short).toBeGreaterThan(0n);
    expect(long).toBeGreaterThan(9_000n);
  });
});
