/** The provider simulator against OpenAI's own client and against the wire format itself. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import OpenAI from "openai";
import { type ProviderSimulator, startProviderSimulator } from "../src/cli/provider-simulator.ts";

const API_KEY = "sk-simulator";
const BYTES_PER_TOKEN = 4;
const question = [{ role: "user" as const, content: "Why is the sky blue?" }];

let simulator: ProviderSimulator;
let client: OpenAI;

beforeAll(() => {
  simulator = startProviderSimulator({ apiKey: API_KEY });
  client = new OpenAI({ baseURL: simulator.baseUrl, apiKey: API_KEY, maxRetries: 0 });
});

afterAll(() => simulator.stop());

async function post(body: unknown, headers: Record<string, string> = {}): Promise<Response> {
  return await fetch(`${simulator.baseUrl}/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${API_KEY}`, ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
}

/** The data of each event, parsed; `[DONE]` as text. */
async function readEvents(response: Response): Promise<Record<string, unknown>[]> {
  const events = (await response.text()).split("\n\n").filter((event) => event !== "");
  return events.map((event) => {
    expect(event).toStartWith("data: ");
    const data = event.slice("data: ".length);
    return data === "[DONE]" ? { done: true } : (JSON.parse(data) as Record<string, unknown>);
  });
}

describe("a whole answer", () => {
  test("counts what it was sent and what it says, four bytes a token", async () => {
    const { choices, usage } = await client.chat.completions.create({
      model: "gpt-4o-mini",
      messages: question,
      n: 2,
    });
    expect(choices.map(({ index, finish_reason }) => [index, finish_reason])).toEqual([
      [0, "stop"],
      [1, "stop"],
    ]);
    const bytes = choices.map(({ message }) => Buffer.byteLength(message.content ?? ""));
    expect(bytes[0]).toBeGreaterThan(100);
    expect(usage?.prompt_tokens).toBe(5);
    expect(usage?.completion_tokens).toBe(((bytes[0] ?? 0) + (bytes[1] ?? 0)) / BYTES_PER_TOKEN);
    expect(usage?.total_tokens).toBe(5 + (usage?.completion_tokens ?? 0));
  });

  test("keeps to the request's limit and says that it was cut", async () => {
    const request = { model: "gpt-4o", messages: question, max_completion_tokens: 3 };
    const { choices, usage } = await client.chat.completions.create(request);
    expect(choices[0]?.message.content).toHaveLength(3 * BYTES_PER_TOKEN);
    expect(choices[0]?.finish_reason).toBe("length");
    expect(usage?.completion_tokens).toBe(3);
  });

  test("is the same for the same request, but for its id", async () => {
    const request = { model: "gpt-4o", messages: question };
    const [first, second] = [
      await client.chat.completions.create(request),
      await client.chat.completions.create(request),
    ];
    expect(first.choices).toEqual(second.choices);
    expect(first.id).not.toBe(second.id);
  });
});

describe("a stream", () => {
  test("has no usage anywhere unless it is asked for", async () => {
    const response = await post({ model: "gpt-4o", messages: question, stream: true });
    expect(response.headers.get("content-type")).toStartWith("text/event-stream");
    const events = await readEvents(response);
    expect(events.at(-1)).toEqual({ done: true });
    expect(events.filter((event) => "usage" in event)).toEqual([]);
  });

  test("ends with its usage when asked, and every other chunk has null", async () => {
    const events = await readEvents(
      await post({
        model: "gpt-4o",
        messages: question,
        stream: true,
        n: 2,
        stream_options: { include_usage: true },
      }),
    );
    const chunks = events.slice(0, -2);
    expect(chunks.every((chunk) => chunk["usage"] === null)).toBe(true);
    expect(new Set(chunks.map((chunk) => chunk["id"])).size).toBe(1);
    const last = events.at(-2);
    // Of each choice, a chunk opens and one closes; each of the others is a token.
    expect(last).toMatchObject({
      choices: [],
      usage: { prompt_tokens: 5, completion_tokens: chunks.length - 4 },
    });
  });

  test("says the same as a whole answer, choice by choice", async () => {
    const request = { model: "gpt-4o", messages: question, n: 2 };
    const whole = await client.chat.completions.create(request);
    const texts = ["", ""];
    for await (const chunk of await client.chat.completions.create({ ...request, stream: true })) {
      for (const { index, delta } of chunk.choices) {
        texts[index] += delta.content ?? "";
      }
    }
    expect(texts).toEqual(whole.choices.map(({ message }) => message.content ?? ""));
  });

  test("comes in the size and at the pace that the request's headers name", async () => {
    const startedMs = performance.now();
    const response = await post(
      { model: "gpt-4o", messages: question, stream: true },
      {
        "x-simulator-tokens": "2",
        "x-simulator-delay-ms": "30",
        "x-simulator-chunk-delay-ms": "15",
      },
    );
    const events = await readEvents(response);
    // Opening, two tokens, closing, [DONE]: four pauses between the five.
    expect(events).toHaveLength(5);
    expect(performance.now() - startedMs).toBeGreaterThanOrEqual(30 + 4 * 15 - 5);
  });

  test("of a hundred thousand tokens is all there", async () => {
    const body = { model: "gpt-4o", messages: question, stream: true };
    const response = await post(body, { "x-simulator-tokens": "100000" });
    expect(await readEvents(response)).toHaveLength(100_003);
  });
});

describe("refusals", () => {
  test("meet a wrong and a missing credential, in OpenAI's shape", async () => {
    const stranger = new OpenAI({ baseURL: simulator.baseUrl, apiKey: "sk-wrong", maxRetries: 0 });
    const refusal: unknown = await stranger.models.list().catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(OpenAI.AuthenticationError);
    const response = await fetch(`${simulator.baseUrl}/models`);
    expect(response.status).toBe(401);
    expect(await response.json()).toMatchObject({ error: { type: "invalid_request_error" } });
  });

  test.each([
    ["no JSON", "{"],
    ["a list", "[]"],
    ["no model", { messages: question }],
    ["no messages", { model: "gpt-4o", messages: [] }],
    ["no room for an answer", { model: "gpt-4o", messages: question, max_tokens: 0 }],
    ["too many choices", { model: "gpt-4o", messages: question, n: 129 }],
  ])("meet a body with %s", async (_, body) => {
    const response = await post(body);
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: { type: "invalid_request_error" } });
  });

  test("meet a pace that is no number", async () => {
    const body = { model: "gpt-4o", messages: question };
    expect((await post(body, { "x-simulator-delay-ms": "soon" })).status).toBe(400);
  });

  test("meet an unknown path", async () => {
    expect((await fetch(`${simulator.baseUrl}/nothing`)).status).toBe(404);
  });
});

test("lists its models and counts completions only", async () => {
  const before = simulator.requestCount;
  const models = await client.models.list();
  expect(models.data.map(({ id }) => id)).toContain("gpt-4o-mini");
  expect(simulator.requestCount).toBe(before);
  await post({ model: "gpt-4o", messages: question });
  expect(simulator.requestCount).toBe(before + 1);
});
