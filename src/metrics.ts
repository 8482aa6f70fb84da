/**
 * Everything that is measured, in one place: names, labels and buckets. Labels are route templates
 * and bounded ids, never paths or model names as a caller wrote them, so that no caller can make
 * series without end.
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";

export type Metrics = ReturnType<typeof createMetrics>;

/** Fits gateway overhead (milliseconds) as well as long answers (minutes). */
const SECONDS_BUCKETS = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600,
];
const ITEM_BUCKETS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];

export function createMetrics() {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry, prefix: "spendra_" });
  return {
    registry,
    ...gatewayMetrics(registers),
    ...moneyMetrics(registers),
    ...spoolMetrics(registers),
    ...operationMetrics(registers),
  };
}

function gatewayMetrics(registers: Registry[]) {
  return {
    requests: new Counter({
      name: "spendra_gateway_requests_total",
      help: "Inference requests by route, status and policy result.",
      labelNames: ["route", "status", "policy_result"],
      registers,
    }),
    requestSeconds: new Histogram({
      name: "spendra_gateway_request_seconds",
      help: "From the request's arrival to the end of its answer.",
      labelNames: ["route"],
      buckets: SECONDS_BUCKETS,
      registers,
    }),
    overheadSeconds: new Histogram({
      name: "spendra_gateway_overhead_seconds",
      help: "What Spendra itself adds before the provider is called.",
      buckets: SECONDS_BUCKETS,
      registers,
    }),
    providerFirstByteSeconds: new Histogram({
      name: "spendra_provider_first_byte_seconds",
      help: "From the call to the provider to its response headers.",
      labelNames: ["provider"],
      buckets: SECONDS_BUCKETS,
      registers,
    }),
    providerErrors: new Counter({
      name: "spendra_provider_errors_total",
      help: "Calls that the provider failed or could not be reached for.",
      labelNames: ["provider", "error_class"],
      registers,
    }),
    runningCalls: new Gauge({
      name: "spendra_gateway_running_calls",
      help: "Calls between reservation and settlement in this process.",
      registers,
    }),
  };
}

function moneyMetrics(registers: Registry[]) {
  return {
    reservations: new Counter({
      name: "spendra_reservations_total",
      help: "Reservations by what was decided, and by how they ended.",
      labelNames: ["outcome"],
      registers,
    }),
    settledUsd: new Counter({
      name: "spendra_settled_usd_total",
      help: "Dollars booked by this process, by where the usage came from. The ledger is exact.",
      labelNames: ["usage_source"],
      registers,
    }),
    usageNotReported: new Counter({
      name: "spendra_usage_not_reported_total",
      help: "Answers without usage, settled by estimate.",
      labelNames: ["provider"],
      registers,
    }),
    settlementFailures: new Counter({
      name: "spendra_settlement_failures_total",
      help: "Settlements that the database refused for good.",
      registers,
    }),
    overages: new Counter({
      name: "spendra_overages_total",
      help: "Settlements above their reservation.",
      registers,
    }),
  };
}

/** What is on its way to the database, and what does not get there. */
function spoolMetrics(registers: Registry[]) {
  return {
    spoolRecords: new Gauge({
      name: "spendra_spool_records",
      help: "Settlements that are on this machine's disk and not in the database yet.",
      registers,
    }),
    spoolBytes: new Gauge({
      name: "spendra_spool_bytes",
      help: "Size of the local spool.",
      registers,
    }),
    spoolOldestSeconds: new Gauge({
      name: "spendra_spool_oldest_seconds",
      help: "How long ago the oldest settlement in the local spool happened; 0 when it is empty.",
      registers,
    }),
    deadLetters: new Gauge({
      name: "spendra_dead_letters",
      help: "Settlements that the database refuses for good; an operator decides.",
      registers,
    }),
    writerBatchSeconds: new Histogram({
      name: "spendra_writer_batch_seconds",
      help: "One batch of the writer, commit included.",
      buckets: SECONDS_BUCKETS,
      registers,
    }),
    writerBatchItems: new Histogram({
      name: "spendra_writer_batch_items",
      help: "Settlements, reservations and records in one batch.",
      buckets: ITEM_BUCKETS,
      registers,
    }),
    writerFailures: new Counter({
      name: "spendra_writer_failures_total",
      help: "Batches that failed because the database was out of reach.",
      registers,
    }),
  };
}

function operationMetrics(registers: Registry[]) {
  return {
    jobRuns: new Counter({
      name: "spendra_job_runs_total",
      help: "Scheduled job runs by outcome.",
      labelNames: ["job", "status"],
      registers,
    }),
    ledgerDriftNanoUsd: new Gauge({
      name: "spendra_ledger_drift_nano_usd",
      help: "What counters and ledger differ by, by the newest scheduled proof; 0 is right.",
      registers,
    }),
    outboxWaiting: new Gauge({
      name: "spendra_outbox_waiting",
      help: "Outbox rows that nobody has handled yet.",
      registers,
    }),
    recordsDropped: new Counter({
      name: "spendra_request_records_dropped_total",
      help: "Refused requests that could not be put on record.",
      registers,
    }),
  };
}
