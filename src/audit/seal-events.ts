/** Seals what was written down into each organization's chain. See src/ledger/seal-chains.ts. */
import type { Clock } from "../clock.ts";
import type { Sql } from "../database/client.ts";
import { type SealedTable, sealChains } from "../ledger/seal-chains.ts";
import {
  auditSealInsert,
  eventNumberLast,
  organizationsToSeal,
  SEAL_EVENTS_MAX,
} from "./chain-queries.ts";

const auditEvents: SealedTable = {
  table: "audit_log",
  numberLast: eventNumberLast,
  organizationsToSeal,
  sealInsert: auditSealInsert,
  sealRowsMax: SEAL_EVENTS_MAX,
  // 200,000 events: some ten seconds of work. The rest waits for the next run.
  sealsPerRunMax: 200,
};

/** Answers how many events were sealed here. Safe on any number of nodes at once. */
export async function sealAuditLog(sql: Sql, clock: Clock, waitMaxMs?: number): Promise<number> {
  return await sealChains(sql, clock, auditEvents, waitMaxMs);
}
