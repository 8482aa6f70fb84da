/**
 * Proof 4: a settled or expired reservation has exactly one spend event and, when it cost anything,
 * exactly one ledger entry of exactly that cost, both naming the same request, key and actor; a
 * held or released one has neither; and nothing is booked without a reservation.
 */
import { formatUsd } from "../money.ts";
import {
  type BookingDifferenceRow,
  bookingDifferences,
  reservationBefore,
  reservationPageEnd,
} from "./booking-queries.ts";
import type { Difference, Proving } from "./difference.ts";

const RESERVATIONS_PAGE = 20_000;

/** `since` leaves out reservations made before it; null means all. */
export async function verifyBookings(proving: Proving, since: Date | null): Promise<void> {
  const { sql, organizationId, differences } = proving;
  let afterId = since === null ? "" : await reservationBefore(sql, organizationId, since);
  let checkedCount = 0n;
  for (;;) {
    // The last page has no end, so that bookings of reservations that are gone are in it as well.
    const throughId = await reservationPageEnd(sql, {
      organizationId,
      afterId,
      size: RESERVATIONS_PAGE,
    });
    const rows = await bookingDifferences(sql, { organizationId, afterId, throughId });
    differences.addAll(
      rows.map((row) => toDifference(row, organizationId)),
      {
        count: rows[0]?.total_count ?? 0n,
        driftNanoUsd: rows[0]?.total_drift_nano_usd ?? 0n,
      },
    );
    if (throughId === null) {
      return;
    }
    checkedCount += BigInt(RESERVATIONS_PAGE);
    proving.onChecked(checkedCount);
    afterId = throughId;
  }
}

function toDifference(row: BookingDifferenceRow, organizationId: string): Difference {
  const cost =
    row.cost_nano_usd === null ? "no cost" : `a cost of $${formatUsd(row.cost_nano_usd)}`;
  const reservation =
    row.status === null
      ? `reservation ${row.reservation_id} does not exist`
      : `reservation ${row.reservation_id} is ${row.status} with ${cost}`;
  return {
    proof: "bookings",
    organizationId,
    code: row.code,
    subject: row.reservation_id,
    detail:
      `${reservation}; it has ${row.event_count} spend event(s) of ` +
      `$${formatUsd(row.event_nano_usd)} and ${row.entry_count} ledger entry(s) of ` +
      `$${formatUsd(row.entry_nano_usd)}`,
    driftNanoUsd: row.drift_nano_usd,
  };
}
