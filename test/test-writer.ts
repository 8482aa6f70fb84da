/** A writer on a test database, with a spool in a directory of its own. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Clock, systemClock } from "../src/clock.ts";
import { connect } from "../src/database/client.ts";
import type { Log } from "../src/log.ts";
import { createMetrics, type Metrics } from "../src/metrics.ts";
import { Spool, type SpoolRecord } from "../src/reservations/spool.ts";
import { Writer } from "../src/reservations/writer.ts";

export type TestWriter = {
  writer: Writer;
  spool: Spool;
  /** What the spool held when it was opened. */
  left: readonly SpoolRecord[];
  directory: string;
  clock: Clock;
  metrics: Metrics;
  /** Events that were logged as warnings or errors. */
  events: string[];
  close(): Promise<void>;
};

/** `directory` is kept when given: it may hold what an earlier writer left. */
export async function openTestWriter(
  databaseUrl: string,
  options: { directory?: string; bytesMax?: number } = {},
): Promise<TestWriter> {
  const directory = options.directory ?? (await mkdtemp(join(tmpdir(), "spendra-spool-")));
  const events: string[] = [];
  const note = (event: string): void => {
    events.push(event);
  };
  const log: Log = { debug: () => {}, info: () => {}, warn: note, error: note };
  const metrics = createMetrics();
  const { spool, left } = await Spool.open(directory, { log, metrics }, options.bytesMax);
  const openSql = () =>
    connect(databaseUrl, {
      connectionsMax: 1,
      applicationName: "test writer",
      statementTimeoutMs: 5_000,
    });
  const writer = new Writer({ openSql, spool, clock: systemClock, log, metrics });
  return {
    writer,
    spool,
    left,
    directory,
    clock: systemClock,
    metrics,
    events,
    close: async () => {
      await writer.end(1);
      await spool.close();
      if (options.directory === undefined) {
        await rm(directory, { recursive: true, force: true });
      }
    },
  };
}
