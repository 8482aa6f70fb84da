/** Has a node's own alerts match what it finds of itself, at each of its signs of life. */
import type { Clock } from "../clock.ts";
import type { Sql } from "../database/client.ts";
import type { Log } from "../log.ts";
import type { Spool } from "../reservations/spool.ts";
import { matchAlerts } from "./alert.ts";
import { NODE_KINDS, nodeFindings } from "./node-causes.ts";

type ReportParts = {
  readonly sql: Sql;
  readonly log: Log;
  readonly clock: Clock;
  readonly spool: Spool;
  readonly nodeId: string;
};

/** Makes the report. One at a time: while the database hangs, no second one waits behind it. */
export function openNodeReport(parts: ReportParts): () => Promise<void> {
  let running: Promise<void> | null = null;
  return () => {
    running ??= report(parts).finally(() => {
      running = null;
    });
    return running;
  };
}

async function report({ sql, log, clock, spool, nodeId }: ReportParts): Promise<void> {
  const now = clock.now();
  const findings = nodeFindings(nodeId, spool.measure(now));
  await matchAlerts({ sql, log, now }, { kinds: NODE_KINDS, nodeId }, findings);
}
