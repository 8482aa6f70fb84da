/**
 * A provider that costs nothing: an HTTP server on loopback in the wire format of OpenAI's chat
 * completions, for the demo, for tests and for benchmarks. How long it takes and how much it says
 * are options, and a request may set them for itself with the headers `x-simulator-delay-ms`,
 * `x-simulator-chunk-delay-ms` and `x-simulator-tokens`. The text is `simulated-completion.ts`.
 */
import { type Clock, sleep, systemClock } from "../clock.ts";
import {
  type CompletionRequest,
  type CompletionStamp,
  completionBody,
  completionEvents,
  countTokens,
  NATURAL_COMPLETION_TOKENS,
} from "./simulated-completion.ts";

export type SimulatorOptions = {
  /** Absent: a free one. */
  port?: number;
  /** The one credential that is taken. Absent: any bearer token. */
  apiKey?: string;
  /** Before the first byte. */
  delayMs?: number;
  /** Between the events of a stream. */
  chunkDelayMs?: number;
  /** Of each choice. A smaller limit in the request still counts. */
  completionTokens?: number;
  clock?: Clock;
};

export type ProviderSimulator = {
  /** What an SDK takes; ends in `/v1`. */
  readonly baseUrl: string;
  /** Chat completions that were asked for so far, refused ones included. */
  readonly requestCount: number;
  stop(): Promise<void>;
};

type Pace = { delayMs: number; chunkDelayMs: number; completionTokens: number };
type Message = { content?: unknown };

/** Answers in OpenAI's shape instead of a completion. */
class Refusal extends Error {
  override readonly name = "Refusal";
  readonly status: number;
  readonly code: string | null;

  constructor(status: number, code: string | null, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

const MODELS = ["gpt-4o-mini", "gpt-4o", "gpt-4.1-mini", "gpt-4.1"];
const DELAY_MS_MAX = 600_000;
const COMPLETION_TOKENS_MAX = 100_000;
/** OpenAI's own limit. */
const CHOICES_MAX = 128;
/** Events that wait for nothing leave together, in pieces of about this size. */
const PIECE_CHARACTERS = 65_536;

/** Listens on 127.0.0.1. Throws when the port is taken. */
export function startProviderSimulator(options: SimulatorOptions = {}): ProviderSimulator {
  let requestCount = 0;
  const clock = options.clock ?? systemClock;
  const complete = async (request: Request, server: Bun.Server<undefined>): Promise<Response> => {
    requestCount++;
    server.timeout(request, 0);
    const suffix = requestCount.toString().padStart(12, "0");
    const stamp = {
      id: `chatcmpl-simulator${suffix}`,
      createdSeconds: Math.floor(clock.now().getTime() / 1000),
    };
    return await refusing(request, options, () => answerCompletion(request, options, stamp));
  };
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: options.port ?? 0,
    development: false,
    routes: {
      "/v1/chat/completions": { POST: complete },
      "/v1/models": {
        GET: (request) => refusing(request, options, () => Promise.resolve(answerModels())),
      },
    },
    fetch: ({ method, url }) => {
      const message = `Invalid URL (${method} ${new URL(url).pathname})`;
      return errorResponse(new Refusal(404, null, message));
    },
  });
  return {
    baseUrl: `http://127.0.0.1:${server.port}/v1`,
    get requestCount() {
      return requestCount;
    },
    stop: () => server.stop(true),
  };
}

async function refusing(
  request: Request,
  { apiKey }: SimulatorOptions,
  answer: () => Promise<Response>,
): Promise<Response> {
  try {
    requireCredential(request, apiKey);
    return await answer();
  } catch (error) {
    if (error instanceof Refusal) {
      return errorResponse(error);
    }
    throw error;
  }
}

function requireCredential(request: Request, apiKey: string | undefined): void {
  const token = /^Bearer (\S+)$/i.exec(request.headers.get("authorization") ?? "")?.[1];
  if (token === undefined) {
    throw new Refusal(401, null, "You didn't provide an API key.");
  }
  if (apiKey !== undefined && token !== apiKey) {
    throw new Refusal(401, "invalid_api_key", "Incorrect API key provided.");
  }
}

function errorResponse({ status, code, message }: Refusal): Response {
  const error = { message, type: "invalid_request_error", param: null, code };
  return Response.json({ error }, { status });
}

function answerModels(): Response {
  const data = MODELS.map((id) => ({ id, object: "model", created: 0, owned_by: "simulator" }));
  return Response.json({ object: "list", data });
}

async function answerCompletion(
  request: Request,
  options: SimulatorOptions,
  stamp: CompletionStamp,
): Promise<Response> {
  const pace = readPace(request.headers, options);
  const body = await readBody(request);
  const completion = readCompletionRequest(body, pace.completionTokens);
  if (pace.delayMs > 0) {
    await sleep(pace.delayMs);
  }
  const headers = { "x-request-id": `req_${stamp.id}`, "openai-processing-ms": `${pace.delayMs}` };
  if (body["stream"] !== true) {
    return Response.json(completionBody(completion, stamp), { headers });
  }
  const events = completionEvents(completion, stamp);
  return new Response(streamEvents(events, pace.chunkDelayMs), {
    headers: { ...headers, "content-type": "text/event-stream; charset=utf-8" },
  });
}

function streamEvents(
  events: Generator<string, void>,
  chunkDelayMs: number,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  let isFirst = true;
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      if (chunkDelayMs > 0 && !isFirst) {
        await sleep(chunkDelayMs);
      }
      isFirst = false;
      const { text, isLast } = takePiece(events, chunkDelayMs > 0 ? 1 : PIECE_CHARACTERS);
      if (text !== "") {
        controller.enqueue(encoder.encode(text));
      }
      if (isLast) {
        controller.close();
      }
    },
    cancel() {
      events.return();
    },
  });
}

/** At least one event, and as many as it takes to reach the length. */
function takePiece(
  events: Generator<string, void>,
  charactersMin: number,
): { text: string; isLast: boolean } {
  let text = "";
  while (text.length < charactersMin) {
    const { value, done } = events.next();
    if (done === true) {
      return { text, isLast: true };
    }
    text += value ?? "";
  }
  return { text, isLast: false };
}

async function readBody(request: Request): Promise<Record<string, unknown>> {
  let body: unknown;
  try {
    body = await request.json();
  } catch {
    throw new Refusal(400, null, "We could not parse the JSON body of your request.");
  }
  if (typeof body !== "object" || body === null || Array.isArray(body)) {
    throw new Refusal(400, null, "The body of your request must be a JSON object.");
  }
  return body as Record<string, unknown>;
}

function readCompletionRequest(
  body: Record<string, unknown>,
  wantedTokens: number,
): CompletionRequest {
  const { model, messages, n, stream_options: streamOptions } = body;
  if (typeof model !== "string" || model === "") {
    throw new Refusal(400, null, "you must provide a model parameter");
  }
  if (!Array.isArray(messages) || messages.length === 0) {
    throw new Refusal(400, null, "Missing required parameter: 'messages'.");
  }
  const limit = wholeNumber(body["max_completion_tokens"] ?? body["max_tokens"] ?? wantedTokens);
  if (limit === null) {
    throw new Refusal(400, "integer_below_min_value", "The token limit must be at least 1.");
  }
  const choices = wholeNumber(n ?? 1);
  if (choices === null || choices > CHOICES_MAX) {
    throw new Refusal(400, null, `'n' must be a whole number from 1 to ${CHOICES_MAX}.`);
  }
  const text = (messages as Message[]).map((message) => textOf(message?.content)).join("");
  return {
    model,
    choices,
    promptTokens: countTokens(text),
    completionTokens: Math.min(limit, wantedTokens),
    finishReason: limit < wantedTokens ? "length" : "stop",
    includesUsage:
      (streamOptions as { include_usage?: unknown } | null | undefined)?.include_usage === true,
  };
}

/** A content is a text or a list of parts; only text counts. */
function textOf(content: unknown): string {
  if (typeof content === "string") {
    return content;
  }
  const parts: unknown[] = Array.isArray(content) ? content : [];
  return parts.map((part) => textOf((part as { text?: unknown } | null)?.text)).join("");
}

function readPace(headers: Headers, options: SimulatorOptions): Pace {
  const read = (name: string, fallback: number, max: number): number => {
    const text = headers.get(`x-simulator-${name}`);
    const value = text === null ? fallback : Number(text);
    if (!Number.isInteger(value) || value < 0 || value > max) {
      throw new Refusal(400, null, `x-simulator-${name} must be a whole number up to ${max}.`);
    }
    return value;
  };
  const completionTokens = options.completionTokens ?? NATURAL_COMPLETION_TOKENS;
  return {
    delayMs: read("delay-ms", options.delayMs ?? 0, DELAY_MS_MAX),
    chunkDelayMs: read("chunk-delay-ms", options.chunkDelayMs ?? 0, DELAY_MS_MAX),
    completionTokens: read("tokens", completionTokens, COMPLETION_TOKENS_MAX),
  };
}

function wholeNumber(value: unknown): number | null {
  return typeof value === "number" && Number.isInteger(value) && value > 0 ? value : null;
}
