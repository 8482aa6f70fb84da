/** Keeps monthly partitions open ahead of time: without one for today, nothing can be booked. */
import { openPartitions } from "../../database/migrator.ts";
import type { Job } from "../job.ts";

export const openMonthPartitions: Job = {
  name: "open_partitions",
  pattern: "0 17 * * * *",
  timeoutMs: 60_000,
  run: ({ sql, clock }) => openPartitions(sql, clock.now()),
};
