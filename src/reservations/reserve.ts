/**
 * Holds the most a call can cost in every hard cap that applies, or in none; and says in the
 * caller's terms why not. Default deny: without a hard cap nothing is held and nothing is spent.
 */
import { assertNever } from "../assert.ts";
import {
  type ApplicableWindows,
  reviewsOf,
  type Selection,
  windowsOf,
} from "../budgets/applicable.ts";
import { underPermits } from "../budgets/permit.ts";
import { countShadow } from "../budgets/shadow.ts";
import type { ModelPrice } from "../catalog/model-price.ts";
import type { Clock } from "../clock.ts";
import type { Sql } from "../database/client.ts";
import { answeredInTime } from "../database/in-time.ts";
import { PublicError } from "../errors.ts";
import { newId } from "../id.ts";
import type { Authority } from "../keys/authority.ts";
import type { Log } from "../log.ts";
import { formatUsd, type NanoUsd } from "../money.ts";
import type { TokenBounds } from "../pricing/upper-bound.ts";
import { reservationFindByIdempotency } from "./queries.ts";
import { refusalOf } from "./refusal.ts";
import {
  type Idempotency,
  type NewReservation,
  type ReserveOutcome,
  windowIdsOf,
} from "./reservation.ts";
import type { Writer } from "./writer.ts";
import { leftOrNone } from "./writer-batch.ts";

/** A reservation as its holder knows it, until it is closed. */
export type HeldReservation = {
  readonly organizationId: string;
  readonly id: string;
  readonly provider: string;
  readonly amountNanoUsd: NanoUsd;
  readonly windowIds: readonly string[];
  readonly price: ModelPrice;
  readonly bounds: TokenBounds;
  /** What is left in the tightest window, this reservation taken off. */
  readonly leftNanoUsd: NanoUsd;
};

export type ReserveRequest = {
  /** For calls that a person must permit, and for policies in shadow. */
  readonly sql: Sql;
  readonly log: Log;
  readonly authority: Authority;
  readonly requestId: string;
  readonly route: string;
  readonly provider: string;
  readonly model: string;
  readonly amountNanoUsd: NanoUsd;
  readonly price: ModelPrice;
  readonly bounds: TokenBounds;
  readonly nodeId: string;
  readonly idempotency: Idempotency | null;
  /** After this long without news the sweeper takes over. */
  readonly holdMs: number;
};

/** The rules or the key changed since they were loaded: load them again and repeat. */
export const STALE = Symbol("authority is stale");
/** The idempotency key is in use: idempotency.ts tells the caller by what. */
export const DUPLICATE = Symbol("idempotency key is in use");

/** Throws `PublicError` with the refusal; answers what else keeps it from being held. */
export async function reserve(
  writer: Writer,
  clock: Clock,
  request: ReserveRequest,
): Promise<HeldReservation | typeof STALE | typeof DUPLICATE> {
  const { authority, amountNanoUsd } = request;
  requireRequestLimits(authority, amountNanoUsd);
  const now = clock.now();
  const selection: Selection = {
    provider: request.provider,
    model: request.model,
    environment: authority.apiKey.environment,
  };
  const applicable = windowsOf(authority.policies, selection, now);
  if (applicable.hard.length === 0) {
    throw new PublicError("no_hard_cap_policy");
  }
  const reservation = toReservation(request, applicable, now);
  const outcome = await reservePermitted(writer, request, reservation, selection, now);
  switch (outcome.status) {
    case "granted":
      countShadow(request, authority.policies, { ...reservation, selection }, now);
      return {
        organizationId: authority.organizationId,
        id: reservation.id,
        provider: request.provider,
        amountNanoUsd,
        windowIds: windowIdsOf(reservation),
        price: request.price,
        bounds: request.bounds,
        leftNanoUsd: leftOrNone(outcome.tightest),
      };
    case "stale":
      return STALE;
    case "duplicate":
      return DUPLICATE;
    case "no_room":
      throw refusalOf(applicable, outcome.window, request, now);
    case "key_unknown":
      throw new PublicError("invalid_api_key");
    case "key_revoked":
    case "key_expired":
    case "key_inactive":
      throw new PublicError(outcome.status);
    default:
      return assertNever(outcome, "reserve outcome");
  }
}

/** Most calls fall under no review policy: they are reserved at once. */
async function reservePermitted(
  writer: Writer,
  request: ReserveRequest,
  reservation: NewReservation,
  selection: Selection,
  now: Date,
): Promise<ReserveOutcome> {
  const { authority, amountNanoUsd, idempotency, sql } = request;
  const rules = reviewsOf(authority.policies.reviews, selection, amountNanoUsd);
  if (rules.length === 0) {
    return await writer.reserve(reservation);
  }
  const { organizationId, apiKeyId } = reservation;
  if (idempotency !== null) {
    // A call that was paid for is told so; it needs no other permit.
    const key = { organizationId, apiKeyId, keyHash: idempotency.keyHash };
    if ((await answeredInTime(reservationFindByIdempotency(sql, key))) !== null) {
      return { status: "duplicate" };
    }
  }
  const call = { ...reservation, reservationId: reservation.id };
  return await underPermits(sql, rules, call, now, () => writer.reserve(reservation));
}

function toReservation(
  request: ReserveRequest,
  applicable: ApplicableWindows,
  now: Date,
): NewReservation {
  const { authority, bounds } = request;
  return {
    organizationId: authority.organizationId,
    id: newId("reservation", now),
    requestId: request.requestId,
    apiKeyId: authority.apiKey.id,
    apiKeyEpoch: authority.apiKey.epoch,
    governanceEpoch: authority.governanceEpoch,
    actorId: authority.actor.id,
    teamId: authority.teamId,
    projectId: authority.projectId,
    provider: request.provider,
    model: request.model,
    route: request.route,
    amountNanoUsd: request.amountNanoUsd,
    windows: applicable.hard.map(({ window }) => window),
    softWindows: applicable.soft.map(({ window }) => window),
    rateWindows: applicable.rates.map(({ window }) => window),
    promptTokensMax: bounds.promptTokensMax,
    completionTokensMax: bounds.completionTokensMax,
    priceVersion: request.price.priceVersion,
    nodeId: request.nodeId,
    deadlineAt: new Date(now.getTime() + request.holdMs),
    idempotency: request.idempotency,
  };
}

function requireRequestLimits(authority: Authority, neededNanoUsd: NanoUsd): void {
  const limits = [authority.apiKey.reservationMaxNanoUsd, authority.policies.requestMaxNanoUsd];
  for (const limitNanoUsd of limits) {
    if (limitNanoUsd !== null && neededNanoUsd > limitNanoUsd) {
      const needed = formatUsd(neededNanoUsd);
      const limit = formatUsd(limitNanoUsd);
      throw new PublicError(
        "per_request_limit_exceeded",
        `This request can cost up to $${needed}; one request may cost $${limit} at most. ` +
          "Lower max_completion_tokens or shorten the prompt.",
        { details: { needed_usd: needed, limit_usd: limit } },
      );
    }
  }
}
