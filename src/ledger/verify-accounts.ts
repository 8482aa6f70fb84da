/**
 * Proof 5: what was debited was credited. One entry is a debit and a credit of one amount, so the
 * totals agree by construction; that what was spent is owed to providers and to nobody else holds
 * as long as every account exists and is one of the two kinds.
 */
import { formatUsd, type NanoUsd } from "../money.ts";
import { distance, type Proving } from "./difference.ts";
import { accountPairs } from "./proof-queries.ts";

export type AccountsProof = {
  readonly entryCount: bigint;
  /** Debits of the spend account, what was credited back taken off. */
  readonly spentNanoUsd: NanoUsd;
};

export async function verifyAccounts({
  sql,
  organizationId,
  differences,
}: Proving): Promise<AccountsProof> {
  let entryCount = 0n;
  let spentNanoUsd = 0n;
  let owedNanoUsd = 0n;
  for (const pair of await accountPairs(sql, organizationId)) {
    const amountNanoUsd = pair.amount_nano_usd;
    entryCount += pair.entry_count;
    spentNanoUsd += pair.debit_kind === "spend" ? amountNanoUsd : 0n;
    spentNanoUsd -= pair.credit_kind === "spend" ? amountNanoUsd : 0n;
    owedNanoUsd += pair.credit_kind === "provider" ? amountNanoUsd : 0n;
    owedNanoUsd -= pair.debit_kind === "provider" ? amountNanoUsd : 0n;
  }
  if (spentNanoUsd !== owedNanoUsd) {
    differences.add({
      proof: "accounts",
      organizationId,
      code: "accounts_do_not_balance",
      subject: organizationId,
      detail:
        `$${formatUsd(spentNanoUsd)} were debited to the spend account and ` +
        `$${formatUsd(owedNanoUsd)} credited to providers`,
      driftNanoUsd: distance(spentNanoUsd, owedNanoUsd),
    });
  }
  return { entryCount, spentNanoUsd };
}
