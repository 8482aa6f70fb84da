/**
 * A provider whose answers wait until the test opens the gate, so that all calls of a burst are
 * decided before the first one settles. Counts what reaches it.
 */

export type GatedProvider = {
  /** With `/v1`. */
  baseUrl: string;
  /** Calls that have arrived so far. */
  count: () => number;
  /** Lets every waiting and every later call be answered. */
  open: () => void;
  /** Lets later calls wait again. */
  close: () => void;
  stop(): Promise<void>;
};

export const GATED_USAGE = { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 };

export function gateProvider(): GatedProvider {
  let gate = Promise.withResolvers<void>();
  let count = 0;
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    idleTimeout: 60,
    fetch: async () => {
      count++;
      await gate.promise;
      return Response.json({
        id: "chatcmpl-1",
        object: "chat.completion",
        choices: [{ index: 0, message: { role: "assistant", content: "yes" } }],
        usage: GATED_USAGE,
      });
    },
  });
  return {
    baseUrl: `http://127.0.0.1:${server.port}/v1`,
    count: () => count,
    open: () => gate.resolve(),
    close: () => {
      gate = Promise.withResolvers<void>();
    },
    stop: () => server.stop(true),
  };
}
