/** Seals the ledger's new entries into the hash chains. */
import { sealLedger } from "../../ledger/seal.ts";
import type { Job } from "../job.ts";

export const sealLedgerEntries: Job = {
  name: "seal_ledger",
  pattern: "*/20 * * * * *",
  timeoutMs: 60_000,
  run: ({ sql, clock }) => sealLedger(sql, clock),
};
