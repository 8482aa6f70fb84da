/** Seals what was booked into each organization's chain. See seal-chains.ts. */
import type { Clock } from "../clock.ts";
import type { Sql } from "../database/client.ts";
import { type SealedTable, sealChains } from "./seal-chains.ts";
import {
  entryNumberLast,
  organizationsToSeal,
  SEAL_ENTRIES_MAX,
  sealInsert,
} from "./seal-queries.ts";

const ledgerEntries: SealedTable = {
  table: "ledger_entries",
  numberLast: entryNumberLast,
  organizationsToSeal,
  sealInsert,
  sealRowsMax: SEAL_ENTRIES_MAX,
  // Two million entries: some ten seconds of work. The rest waits for the next run.
  sealsPerRunMax: 400,
};

/** Answers how many entries were sealed here. Safe on any number of nodes at once. */
export async function sealLedger(sql: Sql, clock: Clock, waitMaxMs?: number): Promise<number> {
  return await sealChains(sql, clock, ledgerEntries, waitMaxMs);
}
