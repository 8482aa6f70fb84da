/**
 * The settlements of this machine's node for a command: asked of the node while it runs, else
 * opened here, under the lock that keeps a node from starting meanwhile.
 */
import { systemClock } from "../clock.ts";
import type { Config } from "../config.ts";
import { openNodeConnections } from "../database/node-connections.ts";
import { requireCurrentSchema } from "../database/schema-check.ts";
import { errorCodeOf } from "../database/sqlstate.ts";
import { openLog } from "../log.ts";
import { createMetrics } from "../metrics.ts";
import { claimNodeIdentity } from "../operations/node-identity.ts";
import { operatorSocketPath } from "../operations/operator-socket.ts";
import { openSettlements, type Settlements } from "../reservations/settlements.ts";
import { Spool } from "../reservations/spool.ts";
import { Writer } from "../reservations/writer.ts";

const CLOSE_TIMEOUT_SECONDS = 2;
/** Nobody listens: no node has run here, or it was killed. */
const NO_NODE: ReadonlySet<string | null> = new Set(["ENOENT", "ECONNREFUSED"]);

/** Throws `StateDirectoryInUseError` when a node runs that cannot be asked. */
export async function withSettlements<Result>(
  config: Config,
  use: (settlements: Settlements) => Promise<Result>,
): Promise<Result> {
  const running = askNode(operatorSocketPath(config.stateDirectory));
  try {
    await running.deadLetters();
  } catch (error) {
    if (NO_NODE.has(errorCodeOf(error))) {
      return await withOwnSettlements(config, use);
    }
    throw error;
  }
  return await use(running);
}

function askNode(path: string): Settlements {
  // The host is not looked at: the socket is the address.
  const ask = async <Answer>(
    method: "GET" | "POST",
    route: string,
    body: object | null = null,
  ): Promise<Answer> => {
    const sent = body === null ? {} : { body: JSON.stringify(body) };
    const response = await fetch(`http://localhost${route}`, { unix: path, method, ...sent });
    const answer = (await response.json()) as Answer | { error: string };
    if (!response.ok) {
      const { error } = answer as { error: string };
      throw new Error(`the node says: ${error}`);
    }
    return answer as Answer;
  };
  return {
    replay: () => ask("POST", "/settlements/replay"),
    deadLetters: () => ask("GET", "/dead-letters"),
    retry: (id) => ask("POST", `/dead-letters/${encodeURIComponent(id)}/retry`),
    discard: (id, reason) =>
      ask("POST", `/dead-letters/${encodeURIComponent(id)}/discard`, { reason }),
  };
}

async function withOwnSettlements<Result>(
  config: Config,
  use: (settlements: Settlements) => Promise<Result>,
): Promise<Result> {
  const closers: (() => Promise<unknown>)[] = [];
  try {
    const identity = await claimNodeIdentity(config.stateDirectory, systemClock.now());
    const { nodeId } = identity;
    closers.push(() => identity.release());
    const connections = await openNodeConnections(
      config.databaseUrl.reveal(),
      config.databaseDirectUrl?.reveal() ?? null,
    );
    closers.push(() => connections.end(CLOSE_TIMEOUT_SECONDS));
    await requireCurrentSchema(connections.reader);
    // Standard output is the command's answer.
    const log = openLog("warn", { write: (line) => process.stderr.write(line) });
    const metrics = createMetrics();
    const { spool } = await Spool.open(config.stateDirectory, { log, metrics });
    closers.push(() => spool.close());
    const openSql = () => connections.openWriter();
    const writer = new Writer({ openSql, spool, clock: systemClock, log, metrics });
    closers.push(() => writer.end(CLOSE_TIMEOUT_SECONDS));
    const parts = { sql: connections.reader, writer, spool, clock: systemClock, nodeId };
    return await use(openSettlements(parts));
  } finally {
    for (const close of closers.reverse()) {
      await close();
    }
  }
}
