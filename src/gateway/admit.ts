/**
 * From a checked request to a reservation: resolve what applies, estimate the most it can cost,
 * hold that much everywhere or nowhere. When the rules changed since they were loaded, the whole
 * step is repeated under the new ones.
 */

import { endLapsedIncreases } from "../budgets/increase.ts";
import type { ModelPrice } from "../catalog/model-price.ts";
import { answeredInTime } from "../database/in-time.ts";
import { PublicError } from "../errors.ts";
import { requireUsable } from "../keys/authenticate.ts";
import type { Authority } from "../keys/authority.ts";
import { requireGranted } from "../keys/model-grant.ts";
import { refuseBlocked } from "../keys/refuse-blocked.ts";
import { upperBoundOf } from "../pricing/upper-bound.ts";
import type { Provider } from "../providers/provider.ts";
import { HOLD_MS } from "../reservations/open-reservations.ts";
import { DUPLICATE, type HeldReservation, reserve, STALE } from "../reservations/reserve.ts";
import type { Secret } from "../secret.ts";
import { boundChat, type ChatBounds } from "./chat-bounds.ts";
import type { ChatRequest } from "./chat-request.ts";
import { underCurrentRules } from "./current-rules.ts";
import type { GatewayParts } from "./gateway-parts.ts";
import { readIdempotency, refusalOfDuplicate } from "./idempotency.ts";
import type { PaidCall } from "./paid-call.ts";

/** Where the call goes and with whose credential. */
export type Connection = {
  readonly provider: Provider;
  readonly baseUrl: string;
  readonly secret: Secret;
};

export type Admission = {
  readonly held: HeldReservation;
  readonly bounds: ChatBounds;
  readonly connection: Connection;
};

/** Rules that change under a request are loaded again this often, then it is refused. */
const RESOLVE_ATTEMPTS_MAX = 5;

/** Throws `PublicError` with the refusal; nothing is held then. */
export async function admit(
  call: PaidCall,
  chat: ChatRequest,
  provider: string,
  token: string,
  parts: GatewayParts,
): Promise<Admission> {
  let loaded = call.authority;
  for (let attempt = 1; attempt <= RESOLVE_ATTEMPTS_MAX; attempt++) {
    const admission = await underCurrentRules(parts, token, loaded, (authority) =>
      admitUnder(authority, call, chat, provider, parts),
    );
    if (admission !== STALE) {
      return admission;
    }
    loaded = null;
  }
  throw new PublicError("reservation_unavailable", "The rules of this key keep changing.", {
    retryAfterSeconds: 1,
  });
}

async function admitUnder(
  authority: Authority,
  call: PaidCall,
  chat: ChatRequest,
  provider: string,
  parts: GatewayParts,
): Promise<Admission | typeof STALE> {
  call.authority = authority;
  const idempotency = readIdempotency(call.httpRequest, call.route, chat.text);
  const now = parts.clock.now();
  requireUsable(authority.apiKey, now);
  refuseBlocked(authority, { provider, model: chat.body.model }, now);
  requireGranted(authority.apiKey, authority.policies.allowlists, provider, chat.body.model);
  const connection = connectionTo(authority, provider, parts);
  const price = priceOf(chat, provider, parts);
  const bounds = boundsOf(chat, authority, price);
  if (await hasFallenBack(authority, now, parts)) {
    return STALE;
  }
  const held = await reserve(parts.writer, parts.clock, {
    sql: parts.sql,
    log: parts.log,
    authority,
    requestId: call.requestId,
    route: call.route,
    provider,
    model: chat.body.model,
    amountNanoUsd: estimate(chat, bounds, price),
    price,
    bounds,
    nodeId: parts.nodeId,
    idempotency,
    holdMs: HOLD_MS,
  });
  if (held === DUPLICATE) {
    throw await refusalOfDuplicate(authority, idempotency, parts);
  }
  if (held === STALE) {
    parts.authenticator.forgetOrganization(authority.organizationId);
    return STALE;
  }
  return { held, bounds, connection };
}

/** Whether an increase of a budget was over, and its limit therefore other than what is loaded. */
export async function hasFallenBack(
  { organizationId, policies }: Authority,
  now: Date,
  parts: GatewayParts,
): Promise<boolean> {
  if (policies.increaseEndsAt === null || policies.increaseEndsAt > now) {
    return false;
  }
  await answeredInTime(endLapsedIncreases(parts.sql, now, organizationId));
  parts.authenticator.forgetOrganization(organizationId);
  return true;
}

function connectionTo(authority: Authority, providerId: string, parts: GatewayParts): Connection {
  const account = authority.providerAccounts.get(providerId);
  const provider = parts.providers.get(providerId);
  if (account === undefined || provider === undefined) {
    throw new PublicError("unknown_provider", `No account of ${providerId} is set up.`);
  }
  const secret = parts.providerSecrets.get(account.secretName);
  if (secret === undefined) {
    throw new PublicError(
      "unknown_provider",
      `The account of ${providerId} has no credential: an administrator must set ` +
        `${account.secretName}.`,
    );
  }
  return { provider, baseUrl: account.baseUrl, secret };
}

function priceOf(chat: ChatRequest, provider: string, parts: GatewayParts): ModelPrice {
  const { model, service_tier: serviceTier } = chat.body;
  const price = parts.priceBook.priceOf(provider, model, parts.clock.now());
  if (price === null) {
    throw new PublicError("model_not_priced", `The model ${model} has no price.`, {
      param: "model",
    });
  }
  // The price list has no rates by tier yet, and a tier may cost twice the standard rate.
  if (serviceTier != null && serviceTier !== "auto" && serviceTier !== "default") {
    throw new PublicError("model_not_priced", `The service tier ${serviceTier} has no price.`, {
      param: "service_tier",
    });
  }
  return price;
}

function boundsOf(chat: ChatRequest, authority: Authority, price: ModelPrice): ChatBounds {
  const bounds = boundChat(chat, authority.completionTokensDefault, price.contextTokensMax);
  if (bounds === null) {
    throw new PublicError(
      "invalid_request",
      `How many tokens ${chat.body.model} reads of a document or earlier audio is not known.`,
      { param: "messages" },
    );
  }
  return bounds;
}

function estimate(chat: ChatRequest, bounds: ChatBounds, price: ModelPrice): bigint {
  const amountNanoUsd = upperBoundOf(bounds, price);
  if (amountNanoUsd === null) {
    const what = bounds.searchesMax > 0n ? "Searches" : "Audio tokens";
    throw new PublicError("model_not_priced", `${what} of ${chat.body.model} have no price.`, {
      param: bounds.searchesMax > 0n ? "web_search_options" : "messages",
    });
  }
  return amountNanoUsd;
}
