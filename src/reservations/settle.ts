/**
 * Books what a call really cost: hold, spend event, ledger entry, daily usage and outbox row in one
 * transaction of the writer. A cost above the hold is booked in full and marked as overage.
 */
import type { Clock } from "../clock.ts";
import { newId } from "../id.ts";
import type { NanoUsd } from "../money.ts";
import { costOf } from "../pricing/cost.ts";
import type { UsageBuckets, UsageSource } from "../usage/buckets.ts";
import type { RequestRecord } from "./reservation.ts";
import type { HeldReservation } from "./reserve.ts";
import type { Writer } from "./writer.ts";

export type SettledUsage = {
  readonly buckets: UsageBuckets;
  readonly usageSource: UsageSource;
  readonly providerUsage: Readonly<Record<string, unknown>> | null;
};

export type Receipt = {
  readonly costNanoUsd: NanoUsd;
  readonly spendEventId: string;
  readonly ledgerEntryId: string;
  readonly usageSource: UsageSource;
  readonly isOverage: boolean;
  /** False when the reservation had ended before; then this call booked nothing. */
  readonly wasOpen: boolean;
};

/** Resolves once the booking is durable. Rejects only when the database refuses it for good. */
export async function settle(
  writer: Writer,
  clock: Clock,
  held: HeldReservation,
  usage: SettledUsage,
  request: RequestRecord | null,
): Promise<Receipt> {
  const now = clock.now();
  const costNanoUsd = costOf(usage.buckets, held.price);
  const booked = {
    spendEventId: newId("spendEvent", now),
    ledgerEntryId: newId("ledgerEntry", now),
    usageSource: usage.usageSource,
    priceVersion: held.price.priceVersion,
    costNanoUsd,
    buckets: usage.buckets,
    providerUsage: usage.providerUsage,
  };
  const wasOpen = await writer.close(
    {
      status: "settled",
      organizationId: held.organizationId,
      reservationId: held.id,
      provider: held.provider,
      windowIds: held.windowIds,
      occurredAt: now,
      booked,
    },
    request,
  );
  return {
    costNanoUsd,
    spendEventId: booked.spendEventId,
    ledgerEntryId: booked.ledgerEntryId,
    usageSource: usage.usageSource,
    isOverage: costNanoUsd > held.amountNanoUsd,
    wasOpen,
  };
}
