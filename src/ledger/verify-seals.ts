/**
 * Proof 1: the chain of seals recomputes and links. A sealed entry that was changed, taken away or
 * slipped in later changes its seal's hash; a seal that was changed, or taken out of the middle,
 * breaks the chain. What the chain cannot show is that its end was cut off together with its
 * entries: for that, keep the head that `verify` prints somewhere else.
 */
import { formatUsd } from "../money.ts";
import { distance, type Proving } from "./difference.ts";
import { type SealCheckRow, sealCheckList, unsealedCount } from "./seal-queries.ts";

export type SealHead = { readonly sealNo: bigint; readonly hash: string };

export type SealsProof = {
  readonly sealCount: bigint;
  readonly sealedEntryCount: bigint;
  readonly unsealedEntryCount: bigint;
  /** The newest seal; null before the first. */
  readonly head: SealHead | null;
};

/** At most a million entries a statement. */
const SEALS_PAGE = 200;
const FIRST_PREVIOUS_HASH = "00".repeat(32);

/** Where the next seal has to begin. */
type Link = { readonly sealNo: bigint; readonly throughNumber: bigint; readonly hash: string };

export async function verifySeals(proving: Proving): Promise<SealsProof> {
  const { sql, organizationId } = proving;
  let link: Link = { sealNo: 0n, throughNumber: 0n, hash: FIRST_PREVIOUS_HASH };
  let sealCount = 0n;
  let sealedEntryCount = 0n;
  for (;;) {
    const page = { organizationId, afterSealNo: link.sealNo, limit: SEALS_PAGE };
    const seals = await sealCheckList(sql, page);
    for (const seal of seals) {
      checkLink(proving, seal, link);
      checkContent(proving, seal);
      link = { sealNo: seal.seal_no, throughNumber: seal.entry_no_through, hash: seal.hash };
      sealCount += 1n;
      sealedEntryCount += BigInt(seal.found_count);
    }
    proving.onChecked(sealedEntryCount);
    if (seals.length < SEALS_PAGE) {
      break;
    }
  }
  return {
    sealCount,
    sealedEntryCount,
    unsealedEntryCount: await unsealedCount(sql, organizationId, link.throughNumber),
    head: sealCount === 0n ? null : { sealNo: link.sealNo, hash: link.hash },
  };
}

function checkLink(proving: Proving, seal: SealCheckRow, before: Link): void {
  if (seal.seal_no !== before.sealNo + 1n) {
    addDifference(proving, seal, "seal_missing", {
      detail: `seal ${seal.seal_no} follows seal ${before.sealNo}: what was between them is gone`,
    });
  } else if (seal.previous_hash !== before.hash) {
    addDifference(proving, seal, "seal_not_linked", {
      detail: `seal ${seal.seal_no} does not name the hash of seal ${before.sealNo}`,
    });
  } else if (seal.entry_no_from !== before.throughNumber + 1n) {
    addDifference(proving, seal, "seal_range_broken", {
      detail:
        `seal ${seal.seal_no} begins at entry number ${seal.entry_no_from} and seal ` +
        `${before.sealNo} ends at ${before.throughNumber}`,
    });
  }
}

function checkContent(proving: Proving, seal: SealCheckRow): void {
  if (seal.found_hash === seal.hash) {
    return;
  }
  addDifference(proving, seal, contentCode(seal), {
    detail:
      `seal ${seal.seal_no} (entry numbers ${seal.entry_no_from} to ${seal.entry_no_through}) ` +
      `does not recompute: ${seal.entry_count} entries of $${formatUsd(seal.amount_nano_usd)} ` +
      `by the seal, ${seal.found_count} of $${formatUsd(seal.found_nano_usd)} in the ledger`,
    driftNanoUsd: distance(seal.amount_nano_usd, seal.found_nano_usd),
  });
}

function contentCode(seal: SealCheckRow): string {
  if (seal.found_count < seal.entry_count) {
    return "sealed_entry_missing";
  }
  return seal.found_count > seal.entry_count
    ? "sealed_entry_inserted"
    : "sealed_entry_or_seal_changed";
}

function addDifference(
  { differences, organizationId }: Proving,
  seal: SealCheckRow,
  code: string,
  found: { detail: string; driftNanoUsd?: bigint },
): void {
  const subject = `seal ${seal.seal_no}`;
  differences.add({
    proof: "seals",
    organizationId,
    code,
    subject,
    detail: found.detail,
    driftNanoUsd: found.driftNanoUsd ?? 0n,
  });
}
