/**
 * The life of one paid call: held → settled | released | expired, one terminal state.
 *
 *   held ──settle──▶ settled    usage booked, real or estimated
 *     ├────release─▶ released   nothing was bought
 *     └────expire──▶ expired    past its deadline; the bound is booked as `recovered`
 */
import type { RateWindow } from "../budgets/rate-window.ts";
import type { BudgetWindow } from "../budgets/window.ts";
import type { NanoUsd } from "../money.ts";
import type { UsageBuckets, UsageSource } from "../usage/buckets.ts";

/** What is asked of the budgets: this much, in all of these windows or in none. */
export type NewReservation = {
  readonly organizationId: string;
  readonly id: string;
  readonly requestId: string;
  readonly apiKeyId: string;
  readonly apiKeyEpoch: bigint;
  readonly governanceEpoch: bigint;
  readonly actorId: string;
  readonly teamId: string | null;
  readonly projectId: string | null;
  readonly provider: string;
  readonly model: string;
  readonly route: string;
  readonly amountNanoUsd: NanoUsd;
  /** Of hard caps: all must have room. */
  readonly windows: readonly BudgetWindow[];
  /** Of soft caps: they count and never refuse. */
  readonly softWindows: readonly BudgetWindow[];
  readonly rateWindows: readonly RateWindow[];
  readonly promptTokensMax: bigint;
  readonly completionTokensMax: bigint;
  readonly priceVersion: string;
  readonly nodeId: string;
  readonly deadlineAt: Date;
  /** Set when the caller sent an `Idempotency-Key`. */
  readonly idempotency: Idempotency | null;
};

/** SHA-256 of the caller's key and of the body that came with it, in hexadecimal. */
export type Idempotency = { readonly keyHash: string; readonly bodyHash: string };

/**
 * Numbers of one window: nano-USD for a budget's, else requests, tokens or calls. Of a grant they
 * are those after the whole batch, of a refusal those of the decision.
 */
export type WindowState = {
  readonly windowId: string;
  readonly limit: bigint;
  readonly used: bigint;
  readonly held: bigint;
};

/**
 * `granted`: held in all windows; `tightest` is the hard cap's with least left afterwards.
 * `no_room`: held in none; `window` refused. `duplicate`: a call with this idempotency key is
 * running or was paid. `stale`: the key or the rules changed; resolve again.
 */
export type ReserveOutcome =
  | { readonly status: "granted"; readonly tightest: WindowState }
  | { readonly status: "no_room"; readonly window: WindowState }
  | { readonly status: "duplicate" }
  | { readonly status: "stale" }
  | { readonly status: "key_unknown" }
  | { readonly status: "key_revoked" }
  | { readonly status: "key_expired" }
  | { readonly status: "key_inactive" };

/** What is booked when money was spent. */
export type BookedUsage = {
  readonly spendEventId: string;
  readonly ledgerEntryId: string;
  readonly usageSource: UsageSource;
  readonly priceVersion: string;
  readonly costNanoUsd: NanoUsd;
  readonly buckets: UsageBuckets;
  readonly providerUsage: Readonly<Record<string, unknown>> | null;
};

/** How a reservation ends. `windowIds` are all it is held in, of budgets and of rate limits. */
export type Closing = {
  readonly organizationId: string;
  readonly reservationId: string;
  readonly provider: string;
  readonly windowIds: readonly string[];
  readonly occurredAt: Date;
} & (
  | { readonly status: "released" }
  | { readonly status: "settled" | "expired"; readonly booked: BookedUsage }
);

/** One line of `gateway_requests`: what an operator asks about a request, refused ones included. */
export type RequestRecord = {
  readonly organizationId: string;
  readonly requestId: string;
  readonly receivedAt: Date;
  readonly route: string;
  readonly apiKeyId: string;
  readonly actorId: string | null;
  readonly provider: string | null;
  readonly model: string | null;
  readonly isStreaming: boolean;
  /** `granted`, or the code of the refusal. */
  readonly policyResult: string;
  readonly status: number;
  readonly errorCode: string | null;
  readonly reservationId: string | null;
  readonly durationMs: number;
};

/** Everything that a reservation is held in. */
export function windowIdsOf(reservation: NewReservation): readonly string[] {
  const { windows, softWindows, rateWindows } = reservation;
  return [...windows, ...softWindows, ...rateWindows].map(({ id }) => id);
}
