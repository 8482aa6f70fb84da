/** Books for tests of the ledger's proofs: one company, every way a reservation can end, sealed. */
import type { DemoCompany } from "../src/cli/demo-company.ts";
import { systemClock } from "../src/clock.ts";
import type { Sql, Transaction } from "../src/database/client.ts";
import { newId } from "../src/id.ts";
import { providerAccountId, spendAccountId } from "../src/ledger/account.ts";
import { sealLedger } from "../src/ledger/seal.ts";
import { expireDue } from "../src/reservations/expire.ts";
import type { Writer } from "../src/reservations/writer.ts";
import { foundCompany } from "./node.ts";
import { type TestDatabase, type TestedMajor, testDatabase } from "./postgres.ts";
import {
  HELD_NANO_USD,
  makeReservations,
  type ReservationMaker,
  released,
  settled,
} from "./sample-reservations.ts";
import { openTestWriter } from "./test-writer.ts";

export type Books = {
  database: TestDatabase;
  company: DemoCompany;
  writer: Writer;
  newReservation: ReservationMaker;
  close(): Promise<void>;
};

/** A company and a writer, and nothing booked. */
export async function openBooks(version: TestedMajor = 18): Promise<Books> {
  const database = await testDatabase({ version });
  const company = await foundCompany(database.sql, "http://127.0.0.1:9/v1");
  const opened = await openTestWriter(database.url);
  return {
    database,
    company,
    writer: opened.writer,
    newReservation: await makeReservations(database.sql, company),
    close: async () => {
      await opened.close();
      await database.drop();
    },
  };
}

/**
 * Entries 1 to 3 in seal 1 (400, 401, 402 nano-dollars), 4 and 5 in seal 2 (an overage and a
 * recovery), 6 not sealed; a call that cost nothing, a released one and one that is still held.
 */
export async function keepBooks({ database, writer, newReservation }: Books): Promise<void> {
  const hold = async (changes: Parameters<ReservationMaker>[0] = {}) => {
    const reservation = newReservation(changes);
    await writer.reserve(reservation);
    return reservation;
  };
  for (const costNanoUsd of [400n, 401n, 402n]) {
    await writer.close(settled(await hold(), costNanoUsd), null);
  }
  await sealLedger(database.sql, systemClock);
  await writer.close(settled(await hold(), HELD_NANO_USD + 7n), null);
  await hold({ deadlineAt: new Date(0) });
  await expireDue(database.sql, writer, systemClock);
  await writer.close(settled(await hold(), 0n), null);
  await writer.close(released(await hold()), null);
  await hold();
  await sealLedger(database.sql, systemClock);
  await writer.close(settled(await hold({ projectId: "prj_test" }), 500n), null);
}

/** Changes what nobody may change: as a superuser, without triggers and foreign keys. */
export async function tamper(
  sql: Sql,
  change: (transaction: Transaction) => Promise<unknown>,
): Promise<void> {
  await sql.begin(async (transaction) => {
    await transaction`set local session_replication_role = replica`;
    await change(transaction);
  });
}

/** An adjustment that no reservation stands behind: the one kind of entry anybody may book. */
export async function insertAdjustment(
  sql: Sql | Transaction,
  organizationId: string,
  entryNumber: bigint | null = null,
): Promise<void> {
  const now = new Date();
  await sql`
    insert into ledger_entries (
      organization_id, id, occurred_at, kind, debit_account_id, credit_account_id, amount_nano_usd,
      entry_no
    )
    values (
      ${organizationId}, ${newId("ledgerEntry", now)}, ${now}, 'adjustment',
      ${spendAccountId(organizationId)}, ${providerAccountId(organizationId, "openai")}, 5,
      coalesce(${entryNumber}::bigint, nextval('ledger_entry_numbers'))
    )
  `;
}
