/**
 * The ends of an admitted call: settled with the provider's usage, settled by estimate, or
 * released. Each puts the request on record in the same transaction and logs it once.
 */
import { assert } from "../assert.ts";
import { approximateUsd } from "../money.ts";
import { release } from "../reservations/release.ts";
import type { HeldReservation } from "../reservations/reserve.ts";
import { type Receipt, type SettledUsage, settle } from "../reservations/settle.ts";
import type { ReadUsage } from "../usage/buckets.ts";
import { estimateBeyond, estimateUsage } from "../usage/estimate.ts";
import type { GatewayParts } from "./gateway-parts.ts";
import type { PaidCall } from "./paid-call.ts";

/** Books what the provider reported. Resolves once it is durable. */
export async function settleByUsage(
  call: PaidCall,
  parts: GatewayParts,
  usage: ReadUsage,
  status: number,
): Promise<Receipt> {
  const held = heldBy(call);
  const buckets = { ...usage.buckets, searches: held.bounds.searchesMax };
  return await settleCall(call, parts, status, null, {
    buckets,
    usageSource: "provider",
    providerUsage: usage.providerUsage,
  });
}

/** What is known of an answer without a whole usage report. */
export type PartOfAnswer = {
  /** The text that no report covers, in bytes. */
  readonly seenBytes: bigint;
  /** What the provider reported before the answer was cut. */
  readonly reported: ReadUsage | null;
};

/** Books an estimate: by what was seen of the answer, at the bound if that is not known. */
export async function settleByEstimate(
  call: PaidCall,
  parts: GatewayParts,
  status: number,
  errorCode: string | null,
  seen: PartOfAnswer | null = null,
): Promise<Receipt> {
  const { bounds } = heldBy(call);
  const reported = seen?.reported ?? null;
  parts.metrics.usageNotReported.inc({ provider: call.provider ?? "other" });
  const buckets =
    seen === null || reported === null
      ? estimateUsage(bounds, seen?.seenBytes ?? null)
      : estimateBeyond(reported.buckets, bounds, seen.seenBytes);
  return await settleCall(call, parts, status, errorCode, {
    buckets: { ...buckets, searches: bounds.searchesMax },
    usageSource: "estimated",
    providerUsage: reported?.providerUsage ?? null,
  });
}

/** Nothing was bought: the whole hold is free again. */
export async function releaseCall(
  call: PaidCall,
  parts: GatewayParts,
  status: number,
  errorCode: string | null,
): Promise<void> {
  const record = call.record("granted", status, errorCode);
  await release(parts.writer, parts.clock, heldBy(call), record);
  parts.metrics.reservations.inc({ outcome: "released" });
  finish(call, parts, status, errorCode, null);
}

async function settleCall(
  call: PaidCall,
  parts: GatewayParts,
  status: number,
  errorCode: string | null,
  usage: SettledUsage,
): Promise<Receipt> {
  const record = call.record("granted", status, errorCode);
  const receipt = await settle(parts.writer, parts.clock, heldBy(call), usage, record);
  parts.metrics.reservations.inc({ outcome: "settled" });
  parts.metrics.settledUsd.inc(
    { usage_source: receipt.usageSource },
    approximateUsd(receipt.costNanoUsd),
  );
  if (!receipt.wasOpen) {
    // Its commit was not heard of the first time, or the sweeper was faster: both are in the book.
    parts.log.warn("settlement.already_ended", { reservationId: heldBy(call).id });
  }
  if (receipt.isOverage) {
    parts.metrics.overages.inc();
    parts.log.warn("settlement.overage", {
      requestId: call.requestId,
      reservationId: heldBy(call).id,
      costNanoUsd: receipt.costNanoUsd.toString(),
      heldNanoUsd: heldBy(call).amountNanoUsd.toString(),
    });
  }
  finish(call, parts, status, errorCode, receipt);
  return receipt;
}

function finish(
  call: PaidCall,
  parts: GatewayParts,
  status: number,
  errorCode: string | null,
  receipt: Receipt | null,
): void {
  parts.metrics.requests.inc({
    route: call.route,
    status: String(status),
    policy_result: "granted",
  });
  parts.metrics.requestSeconds.observe({ route: call.route }, call.durationMs / 1000);
  parts.log.info("gateway.request", {
    ...call.logFields(),
    policyResult: "granted",
    status,
    reservationId: heldBy(call).id,
    ...(errorCode === null ? {} : { errorCode }),
    ...(receipt === null
      ? {}
      : {
          spendEventId: receipt.spendEventId,
          ledgerEntryId: receipt.ledgerEntryId,
          usageSource: receipt.usageSource,
          costNanoUsd: receipt.costNanoUsd.toString(),
        }),
  });
}

function heldBy(call: PaidCall): HeldReservation {
  assert(call.held !== null, "a call that ends with money was admitted");
  return call.held;
}
