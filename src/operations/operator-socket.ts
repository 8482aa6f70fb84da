/**
 * A node's way for commands on its own machine: HTTP on a socket in the state directory, so that
 * whoever may read and write there may ask, and nobody else. It takes no keys and no sessions.
 */
import { chmodSync, rmSync } from "node:fs";
import { join } from "node:path";
import { withTimeout } from "../clock.ts";
import { type Log, maskSecrets } from "../log.ts";
import type { Settlements } from "../reservations/settlements.ts";

const SOCKET_NAME = "operator.sock";
const OWNER_ONLY = 0o600;
const STOP_TIMEOUT_MS = 1_000;

export type OperatorSocket = { stop(): Promise<void> };

export function operatorSocketPath(stateDirectory: string): string {
  return join(stateDirectory, SOCKET_NAME);
}

/**
 * Starts to listen. The caller has the state directory's lock. A node works without, so that a
 * socket that cannot be made (a path above 107 bytes) is only logged.
 */
export function serveOperator(
  stateDirectory: string,
  settlements: Settlements,
  log: Log,
): OperatorSocket {
  const path = operatorSocketPath(stateDirectory);
  try {
    // Left by a process that was killed.
    rmSync(path, { force: true });
    const server = listen(path, settlements);
    chmodSync(path, OWNER_ONLY);
    return {
      stop: async () => {
        await withTimeout(server.stop(true), STOP_TIMEOUT_MS, () => {});
      },
    };
  } catch (error) {
    log.warn("node.operator_socket_failed", { error });
    return { stop: async () => {} };
  }
}

function listen(path: string, settlements: Settlements): Bun.Server<undefined> {
  return Bun.serve({
    unix: path,
    development: false,
    routes: {
      "/settlements/replay": {
        POST: async () => Response.json(await settlements.replay()),
      },
      "/dead-letters": {
        GET: async () => Response.json(await settlements.deadLetters()),
      },
      "/dead-letters/:id/discard": {
        POST: async (request) => {
          const { reason } = (await request.json()) as { reason: string };
          return Response.json(await settlements.discard(request.params.id, reason));
        },
      },
      "/dead-letters/:id/retry": {
        POST: async ({ params }) => Response.json(await settlements.retry(params.id)),
      },
    },
    fetch: () => Response.json({ error: "there is no such thing to ask" }, { status: 404 }),
    error: (error) => Response.json({ error: maskSecrets(error.message) }, { status: 500 }),
  });
}
