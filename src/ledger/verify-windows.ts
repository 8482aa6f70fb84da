/**
 * Proof 2: the two counters of every budget window are what they are made of. Settled is the sum of
 * the ledger entries of the reservations held in it (a debit of the spend account adds, a credit
 * takes away); held is the sum of those reservations that are still open.
 */
import { formatUsd, type NanoUsd } from "../money.ts";
import { type Difference, distance, type Proving } from "./difference.ts";
import { type WindowDifferenceRow, windowCount, windowDifferences } from "./proof-queries.ts";

/** `since` leaves out windows that began before it; null means all. Answers how many there are. */
export async function verifyWindows(proving: Proving, since: Date | null): Promise<bigint> {
  const { sql, organizationId, differences } = proving;
  const rows = await windowDifferences(sql, { organizationId, since });
  differences.addAll(
    rows.map((row) => toDifference(row, organizationId)),
    {
      count: rows[0]?.total_count ?? 0n,
      driftNanoUsd: rows[0]?.total_drift_nano_usd ?? 0n,
    },
  );
  return await windowCount(sql, organizationId);
}

function toDifference(row: WindowDifferenceRow, organizationId: string): Difference {
  const settledNanoUsd = row.settled_nano_usd ?? 0n;
  const heldNanoUsd = row.held_nano_usd ?? 0n;
  const settledDriftNanoUsd = distance(settledNanoUsd, row.booked_nano_usd);
  const heldDriftNanoUsd = distance(heldNanoUsd, row.reserved_nano_usd);
  const parts = [
    settledDriftNanoUsd === 0n
      ? []
      : [`settled is ${gap(settledNanoUsd, row.booked_nano_usd)} the ledger's entries`],
    heldDriftNanoUsd === 0n
      ? []
      : [`held is ${gap(heldNanoUsd, row.reserved_nano_usd)} the open reservations`],
  ].flat();
  const window =
    row.budget_id === null
      ? `window ${row.window_id} does not exist`
      : `window ${row.window_id} of ${row.budget_id}`;
  return {
    proof: "windows",
    organizationId,
    code: windowCode(row, settledDriftNanoUsd, heldDriftNanoUsd),
    subject: row.window_id,
    detail: [window, parts.join("; ")].filter((part) => part !== "").join(": "),
    driftNanoUsd: settledDriftNanoUsd + heldDriftNanoUsd,
  };
}

function windowCode(
  row: WindowDifferenceRow,
  settledDriftNanoUsd: NanoUsd,
  heldDriftNanoUsd: NanoUsd,
): string {
  if (row.budget_id === null) {
    return "window_missing";
  }
  if (settledDriftNanoUsd > 0n && heldDriftNanoUsd > 0n) {
    return "window_settled_and_held_differ";
  }
  return settledDriftNanoUsd > 0n ? "window_settled_differs" : "window_held_differs";
}

/** `$5, $2 more than the $3 of` */
function gap(foundNanoUsd: NanoUsd, expectedNanoUsd: NanoUsd): string {
  const by = formatUsd(distance(foundNanoUsd, expectedNanoUsd));
  const expected = formatUsd(expectedNanoUsd);
  const direction = foundNanoUsd > expectedNanoUsd ? "more" : "less";
  return `$${formatUsd(foundNanoUsd)}, $${by} ${direction} than the $${expected} of`;
}
