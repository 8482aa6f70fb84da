/**
 * Stands between Spendra and the simulated provider and writes down both directions, byte for byte:
 * what Spendra sent, and what the provider answered before Spendra saw it.
 */

export type RecordedCall = {
  path: string;
  headers: Headers;
  body: string;
  status: number;
  /** Everything of the answer's body that was passed on so far. */
  answer: Buffer;
};

export type RecordingProvider = {
  /** With `/v1`. */
  baseUrl: string;
  calls: RecordedCall[];
  stop(): Promise<void>;
};

/** Forwards to the provider at `target` (without `/v1`). */
export function recordProvider(target: string): RecordingProvider {
  const calls: RecordedCall[] = [];
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    idleTimeout: 60,
    fetch: async (request) => {
      const { pathname } = new URL(request.url);
      const body = await request.text();
      const call: RecordedCall = {
        path: pathname,
        headers: request.headers,
        body,
        status: 0,
        answer: Buffer.alloc(0),
      };
      calls.push(call);
      const headers = new Headers(request.headers);
      headers.delete("host");
      const response = await fetch(target + pathname, { method: request.method, headers, body });
      call.status = response.status;
      const copied = response.body?.pipeThrough(
        new TransformStream<Uint8Array, Uint8Array>({
          transform: (chunk, controller) => {
            call.answer = Buffer.concat([call.answer, chunk]);
            controller.enqueue(chunk);
          },
        }),
      );
      return new Response(copied ?? null, {
        status: response.status,
        headers: { "content-type": response.headers.get("content-type") ?? "" },
      });
    },
  });
  return {
    baseUrl: `http://127.0.0.1:${server.port}/v1`,
    calls,
    stop: () => server.stop(true),
  };
}
