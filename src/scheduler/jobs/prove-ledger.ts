/**
 * Proves every hour that the counters and bookings of the last weeks are right, and once a night
 * all of them. What it finds is a row that every node shows as `spendra_ledger_drift_nano_usd`.
 */
import { ledgerProofInsert } from "../../ledger/queries.ts";
import { proveCounters } from "../../ledger/verify.ts";
import type { Job } from "../job.ts";

/** Every hour, day, week and month window that is open began within this time. */
const RECENT_MS = 32 * 24 * 60 * 60_000;
const NIGHTLY_HOUR_UTC = 3;

export const proveLedger: Job = {
  name: "prove_ledger",
  pattern: "0 29 * * * *",
  // A whole proof at 50 million entries takes minutes.
  timeoutMs: 50 * 60_000,
  run: async ({ sql, clock, log }) => {
    const provedAt = clock.now();
    const isWhole = provedAt.getUTCHours() === NIGHTLY_HOUR_UTC;
    const sinceAt = isWhole ? null : new Date(provedAt.getTime() - RECENT_MS);
    const { count, driftNanoUsd } = await proveCounters(sql, sinceAt);
    await ledgerProofInsert(sql, { provedAt, sinceAt, differenceCount: count, driftNanoUsd });
    if (count > 0n) {
      log.error("ledger.drift", { job: "prove_ledger", count: Number(count) });
    }
    return Number(count);
  },
};
