/** The body that goes to the provider: the caller's text with at most two things put in. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { boundChat } from "../src/gateway/chat-bounds.ts";
import { parseChatRequest } from "../src/gateway/chat-request.ts";
import { spliceChatBody } from "../src/gateway/chat-splice.ts";

const COMPLETION_TOKENS_DEFAULT = 4096;
const MESSAGES = '"messages":[{"role":"user","content":"hi"}]';

function splice(text: string): string {
  const chat = parseChatRequest(text);
  const bounds = boundChat(chat, COMPLETION_TOKENS_DEFAULT, null);
  if (bounds === null) {
    throw new Error("the request has no document");
  }
  return new TextDecoder().decode(spliceChatBody(chat, bounds, "max_completion_tokens"));
}

/** A body with these further members. */
function body(members: string): string {
  return `{"model":"gpt-4o",${MESSAGES}${members}}`;
}

describe("the output limit", () => {
  test.each([
    [',"max_tokens":7'],
    [',"max_completion_tokens":7'],
    [',"max_tokens":7,"max_completion_tokens":null'],
    [',"max_tokens":null,"max_completion_tokens":7'],
    [',"max\\u005ftokens":7'],
  ])("that the caller has set stays as it is: %s", (members) => {
    expect(splice(body(members))).toBe(body(members));
  });

  test.each([
    ["", `{"max_completion_tokens":4096,"model":"gpt-4o",${MESSAGES}}`],
    [
      ',"max_tokens":null',
      `{"max_completion_tokens":4096,"model":"gpt-4o",${MESSAGES},"max_tokens":null}`,
    ],
    [
      ',"max_completion_tokens": null ,"n":2',
      `{"model":"gpt-4o",${MESSAGES},"max_completion_tokens": 4096 ,"n":2}`,
    ],
    [
      ',"max\\u005fcompletion_tokens":null',
      `{"model":"gpt-4o",${MESSAGES},"max\\u005fcompletion_tokens":4096}`,
    ],
    // Inherited names are nobody's limit.
    [
      ',"__proto__":{"max_tokens":1}',
      `{"max_completion_tokens":4096,"model":"gpt-4o",${MESSAGES},"__proto__":{"max_tokens":1}}`,
    ],
    [
      ',"metadata":{"max_completion_tokens":1}',
      '{"max_completion_tokens":4096,"model":"gpt-4o",' +
        `${MESSAGES},"metadata":{"max_completion_tokens":1}}`,
    ],
  ])("is put in where there is none: %j", (members, spliced) => {
    expect(splice(body(members))).toBe(spliced);
  });
});

describe("the wish for the usage chunk", () => {
  const limited = ',"max_tokens":7';

  test.each([
    [`${limited}`],
    [`${limited},"stream":false`],
    [`${limited},"stream":null`],
    [`${limited},"stream":false,"stream_options":{"include_usage":false}`],
    [`${limited},"stream":true,"stream_options":{"include_usage":true}`],
    [`${limited},"stream":true,"stream_options":{"x":1,"include_usage":true}`],
  ])("changes nothing without a stream, or where the caller has it: %s", (members) => {
    expect(splice(body(members))).toBe(body(members));
  });

  test.each([
    ['"stream_options":null', '"stream_options":{"include_usage":true}'],
    ['"stream_options": null ', '"stream_options": {"include_usage":true} '],
    ['"stream_options":{}', '"stream_options":{"include_usage":true}'],
    ['"stream_options":{ }', '"stream_options":{"include_usage":true }'],
    ['"stream_options" :\n{ "x" : 1 }', '"stream_options" :\n{"include_usage":true, "x" : 1 }'],
    ['"stream_options":{"include_usage":false}', '"stream_options":{"include_usage":true}'],
    ['"stream_options":{"include_usage":null}', '"stream_options":{"include_usage":true}'],
    [
      '"stream_options":{"x":{"include_usage":9},"include\\u005fusage":false,"y":"}"}',
      '"stream_options":{"x":{"include_usage":9},"include\\u005fusage":true,"y":"}"}',
    ],
    ['"stream\\u005foptions":null', '"stream\\u005foptions":{"include_usage":true}'],
  ])("is written over %s", (options, spliced) => {
    const members = `${limited},"stream":true,`;
    expect(splice(body(members + options))).toBe(body(members + spliced));
  });

  test("is put in front where there are no stream options", () => {
    const text = body(`${limited},"stream":true`);
    expect(splice(text)).toBe(`{"stream_options":{"include_usage":true},${text.slice(1)}`);
  });

  test("is not mistaken for a text that only looks like it", () => {
    const messages = JSON.stringify([
      { role: "user", content: '"stream_options":{"include_usage":false}, "max_tokens": 1' },
    ]);
    const text = `{"messages":${messages},"model":"m","stream":true}`;
    const spliced = splice(text);
    expect(spliced).toEndWith(text.slice(1));
    expect(JSON.parse(spliced)).toEqual({
      max_completion_tokens: COMPLETION_TOKENS_DEFAULT,
      stream_options: { include_usage: true },
      messages: JSON.parse(messages) as unknown,
      model: "m",
      stream: true,
    });
  });
});

describe("any request", () => {
  const limits = fc.constantFrom(undefined, null, 1, 4096, 1_000_000);
  const requests = fc.record(
    {
      stream: fc.constantFrom(true, false, null),
      stream_options: fc.oneof(
        fc.constant(null),
        fc.record(
          { include_usage: fc.constantFrom(true, false, null), other: fc.string() },
          { requiredKeys: [] },
        ),
      ),
      max_tokens: limits,
      max_completion_tokens: limits,
      user: fc.string(),
      metadata: fc.dictionary(fc.string(), fc.string()),
    },
    { requiredKeys: [] },
  );

  test("goes up with a limit, with usage when it streams, and with all else as it was", () => {
    fc.assert(
      fc.property(requests, fc.constantFrom("", " ", "\n  "), (members, indent) => {
        const sent = { model: "m", messages: [{ role: "user", content: "hi" }], ...members };
        const went = JSON.parse(splice(JSON.stringify(sent, null, indent))) as typeof sent;
        const { max_tokens, max_completion_tokens, stream_options, ...rest } = went;
        expect(max_tokens ?? max_completion_tokens).toBePositive();
        const options = stream_options ?? null;
        expect(options?.include_usage ?? false).toBe(
          sent.stream === true || (sent.stream_options?.include_usage ?? false),
        );
        expect(options?.other).toBe(sent.stream_options?.other);
        const { max_tokens: _, max_completion_tokens: __, stream_options: ___, ...others } = sent;
        expect(rest).toEqual(JSON.parse(JSON.stringify(others)) as typeof others);
      }),
    );
  });

  test("of ten megabytes is spliced in time", () => {
    const content = 'text with "quotes" and \\ and \ud83d\ude00 '.repeat(350_000);
    const text = JSON.stringify({ messages: [{ content }], model: "m", stream: true });
    expect(text.length).toBeGreaterThan(1e7);
    const startedMs = performance.now();
    const spliced = splice(text);
    expect(performance.now() - startedMs).toBeLessThan(3_000);
    expect(spliced.endsWith(text.slice(1))).toBe(true);
  });

  test("of ten thousand arrays inside each other is spliced", () => {
    const nested = "[".repeat(10_000) + "]".repeat(10_000);
    expect(splice(body(`,"metadata":${nested}`))).toEndWith(`,"metadata":${nested}}`);
  });
});
