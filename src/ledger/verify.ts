/**
 * Proves the book: five proofs, one file each (`verify-*.ts`), over one organization or all, on one
 * snapshot of the database. Reads only. Bounded memory here: statements answer what differs and
 * nothing else; what they sum up, PostgreSQL spills to its disk.
 *
 * The snapshot stays open until the last proof is done, and PostgreSQL keeps old row versions that
 * long: on a very large book, prove it on a replica or when little happens.
 */
import type { Sql, Transaction } from "../database/client.ts";
import { inTransaction } from "../database/transaction.ts";
import type { NanoUsd } from "../money.ts";
import { analyzeUncounted } from "./analyze-tables.ts";
import { DifferenceList, type ProofName, type Proving } from "./difference.ts";
import { organizationIds } from "./proof-queries.ts";
import { verifyAccounts } from "./verify-accounts.ts";
import { verifyBookings } from "./verify-bookings.ts";
import { type SealHead, verifySeals } from "./verify-seals.ts";
import { verifyUsage } from "./verify-usage.ts";
import { verifyWindows } from "./verify-windows.ts";

export type VerifyProgress = {
  readonly proof: ProofName;
  readonly organizationId: string;
  readonly checkedCount: bigint;
};

type VerifyOptions = {
  /** Null for all. */
  readonly organizationId: string | null;
  readonly onProgress: (progress: VerifyProgress) => void;
};

type Totals = {
  organizationCount: bigint;
  entryCount: bigint;
  spentNanoUsd: NanoUsd;
  sealCount: bigint;
  unsealedEntryCount: bigint;
  windowCount: bigint;
  usageCount: bigint;
};

/** What `verifyLedger` found. The books are right when `differences.count` is zero. */
export type Verdict = {
  readonly differences: DifferenceList;
  readonly totals: Readonly<Totals>;
  /** The newest seal of each organization, of the first HEADS_MAX organizations. */
  readonly heads: readonly (SealHead & { readonly organizationId: string })[];
};

/** One statement sums up a whole organization: minutes at 50 million entries. */
const STATEMENT_TIMEOUT_MS = 4 * 60 * 60_000;
const IDLE_TIMEOUT_MS = 60_000;
/** For sums over many keys, a few of which a statement makes at a time. */
const SORT_MEMORY = "64MB";
const ORGANIZATIONS_PAGE = 500;
const HEADS_MAX = 1_000;

/** Proves everything. Rejects only when the database fails; what is wrong is in the answer. */
export async function verifyLedger(sql: Sql, options: VerifyOptions): Promise<Verdict> {
  const differences = new DifferenceList();
  const heads: (SealHead & { organizationId: string })[] = [];
  const totals: Totals = {
    organizationCount: 0n,
    entryCount: 0n,
    spentNanoUsd: 0n,
    sealCount: 0n,
    unsealedEntryCount: 0n,
    windowCount: 0n,
    usageCount: 0n,
  };
  await analyzeUncounted(sql);
  await onSnapshot(sql, options.organizationId, async (transaction, organizationId) => {
    const start = (proof: ProofName): Proving => {
      const onChecked = (checkedCount: bigint): void =>
        options.onProgress({ proof, organizationId, checkedCount });
      onChecked(0n);
      return { sql: transaction, organizationId, differences, onChecked };
    };
    const seals = await verifySeals(start("seals"));
    const windowCount = await verifyWindows(start("windows"), null);
    const usageCount = await verifyUsage(start("usage"));
    await verifyBookings(start("bookings"), null);
    const accounts = await verifyAccounts(start("accounts"));
    totals.organizationCount += 1n;
    totals.entryCount += accounts.entryCount;
    totals.spentNanoUsd += accounts.spentNanoUsd;
    totals.sealCount += seals.sealCount;
    totals.unsealedEntryCount += seals.unsealedEntryCount;
    totals.windowCount += windowCount;
    totals.usageCount += usageCount;
    if (seals.head !== null && heads.length < HEADS_MAX) {
      heads.push({ organizationId, ...seals.head });
    }
  });
  return { differences, totals, heads };
}

/**
 * The proofs that can be had often: windows and bookings, of what began at `since` or later; null
 * for all.
 */
export async function proveCounters(sql: Sql, since: Date | null): Promise<DifferenceList> {
  const differences = new DifferenceList();
  await analyzeUncounted(sql);
  await onSnapshot(sql, null, async (transaction, organizationId) => {
    const proving = { sql: transaction, organizationId, differences, onChecked: () => {} };
    await verifyWindows(proving, since);
    await verifyBookings(proving, since);
  });
  return differences;
}

async function onSnapshot(
  sql: Sql,
  onlyId: string | null,
  prove: (transaction: Transaction, organizationId: string) => Promise<void>,
): Promise<void> {
  const proveAll = async (transaction: Transaction): Promise<void> => {
    await transaction`
      -- name: ledger.verify_settings
      select
        set_config('statement_timeout', ${`${STATEMENT_TIMEOUT_MS}ms`}, true),
        set_config('idle_in_transaction_session_timeout', ${`${IDLE_TIMEOUT_MS}ms`}, true),
        set_config('work_mem', ${SORT_MEMORY}, true)
    `;
    if (onlyId !== null) {
      await prove(transaction, onlyId);
      return;
    }
    let page: readonly string[];
    let afterId = "";
    do {
      page = await organizationIds(transaction, { afterId, limit: ORGANIZATIONS_PAGE });
      for (const organizationId of page) {
        await prove(transaction, organizationId);
        afterId = organizationId;
      }
    } while (page.length === ORGANIZATIONS_PAGE);
  };
  await inTransaction(sql, proveAll, "isolation level repeatable read read only");
}
