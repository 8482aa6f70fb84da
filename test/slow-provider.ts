/**
 * A provider that takes its time: each answer is a stream of small chunks, one every few
 * milliseconds, so that a test can do something in the middle of many of them.
 */

export type SlowProvider = {
  /** With `/v1`. */
  baseUrl: string;
  /** Streams that have sent their first chunk. */
  startedCount(): number;
  stop(): Promise<void>;
};

type SlowProviderOptions = {
  /** How many chunks of text a stream has; Infinity never ends. */
  chunks: number;
  intervalMs: number;
};

export const SLOW_USAGE = { prompt_tokens: 20, completion_tokens: 30, total_tokens: 50 };

/** What the text of a whole answer is, for comparison with what came through. */
export function slowText(chunks: number): string {
  return Array.from({ length: chunks }, (_, index) => `word${index} `).join("");
}

export function serveSlowly({ chunks, intervalMs }: SlowProviderOptions): SlowProvider {
  let startedCount = 0;
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    idleTimeout: 60,
    fetch: async (request) => {
      await request.arrayBuffer();
      const stream = new ReadableStream<Uint8Array>({
        start: async (controller) => {
          for (let index = 0; index < chunks && !request.signal.aborted; index++) {
            send(controller, { choices: [{ index: 0, delta: { content: `word${index} ` } }] });
            startedCount += index === 0 ? 1 : 0;
            await Bun.sleep(intervalMs);
          }
          if (request.signal.aborted) return;
          send(controller, { choices: [], usage: SLOW_USAGE });
          controller.enqueue(encoder.encode("data: [DONE]\n\n"));
          controller.close();
        },
      });
      return new Response(stream, { headers: { "content-type": "text/event-stream" } });
    },
  });
  return {
    baseUrl: `http://127.0.0.1:${server.port}/v1`,
    startedCount: () => startedCount,
    stop: () => server.stop(true),
  };
}

/** The text that a client of the stream puts together. */
export function textOf(stream: string): string {
  return stream
    .split("\n\n")
    .filter((event) => event.startsWith("data: {"))
    .map((event) => JSON.parse(event.slice("data: ".length)) as Chunk)
    .map((chunk) => chunk.choices[0]?.delta.content ?? "")
    .join("");
}

type Chunk = { choices: { delta: { content: string } }[] };

const encoder = new TextEncoder();

function send(controller: ReadableStreamDefaultController<Uint8Array>, fields: object): void {
  const chunk = { id: "chatcmpl-slow", object: "chat.completion.chunk", ...fields };
  controller.enqueue(encoder.encode(`data: ${JSON.stringify(chunk)}\n\n`));
}
