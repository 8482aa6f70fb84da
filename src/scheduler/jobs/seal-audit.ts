/** Seals the audit log's new events into the hash chains. */
import { sealAuditLog } from "../../audit/seal-events.ts";
import type { Job } from "../job.ts";

export const sealAuditEvents: Job = {
  name: "seal_audit",
  pattern: "10 * * * * *",
  timeoutMs: 50_000,
  run: ({ sql, clock }) => sealAuditLog(sql, clock),
};
