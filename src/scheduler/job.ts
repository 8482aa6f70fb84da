/** What the scheduler needs to know of a job. One file each in jobs/. */
import type { Clock } from "../clock.ts";
import type { Sql } from "../database/client.ts";
import type { Log } from "../log.ts";
import type { Writer } from "../reservations/writer.ts";

export type JobParts = {
  readonly sql: Sql;
  readonly writer: Writer;
  readonly clock: Clock;
  readonly log: Log;
};

export type Job = {
  readonly name: string;
  /** A croner pattern with seconds, in UTC. */
  readonly pattern: string;
  /** After this long the run counts as hung: it is marked `timeout` and the next slot may run. */
  readonly timeoutMs: number;
  /** Answers how many items it worked on. */
  readonly run: (parts: JobParts) => Promise<number>;
};
