/**
 * `GET /v1/budget`: what a key has left. Every budget and rate limit that can apply to its calls,
 * each with its limit, what is booked, what running calls hold, what is left and when it begins
 * anew; all of one moment, under the rules of this moment, and exact.
 */
import type { Cap } from "../budgets/applicable.ts";
import { rateWindowAt } from "../budgets/rate-window.ts";
import { type BudgetWindow, windowAt } from "../budgets/window.ts";
import { type WindowUse, windowUses } from "../budgets/window-state.ts";
import { answeredInTime } from "../database/in-time.ts";
import { type Authority, isCurrent } from "../keys/authority.ts";
import { formatUsd } from "../money.ts";
import { hasFallenBack } from "./admit.ts";
import { authenticate } from "./authenticate-call.ts";
import { bearerToken } from "./bearer-token.ts";
import type { GatewayParts } from "./gateway-parts.ts";
import type { PaidCall } from "./paid-call.ts";

/** Throws `PublicError` when the key opens nothing, or the database does not answer. */
export async function reportBudgets(call: PaidCall, parts: GatewayParts): Promise<Response> {
  const authority = await presentAuthority(call, parts);
  const now = parts.clock.now();
  const caps = capsOf(authority, now);
  const rates = authority.policies.rateLimits.map((limit) => ({
    limit,
    window: rateWindowAt(limit, now),
  }));
  const uses = await answeredInTime(
    windowUses(parts.sql, authority.organizationId, {
      budgets: caps.map(({ window }) => ({ id: window.id, ownerId: window.budgetId })),
      rates: rates.map(({ window }) => ({ id: window.id, ownerId: window.policyId })),
    }),
  );
  const report = {
    object: "budget_report",
    as_of: now.toISOString(),
    request_max_usd: requestMaxUsd(authority),
    budgets: caps.map(({ cap, window }) => budgetItem(cap, window, useOf(uses, window.id))),
    rate_limits: rates.map(({ limit, window }) => {
      const { limit: most, used, held } = useOf(uses, window.id);
      return {
        policy_id: limit.policyId,
        policy: limit.policyName,
        mode: limit.isShadow ? "shadow" : "enforced",
        scope: limit.scope.kind,
        scope_id: limit.scope.id,
        provider: limit.provider,
        model: limit.model,
        unit: limit.unit,
        limit: Number(most),
        used: Number(used),
        held: Number(held),
        left: Number(most - used - held),
        resets_at: window.end?.toISOString() ?? null,
      };
    }),
  };
  return Response.json(report, { headers: { "x-request-id": call.requestId } });
}

/** What is remembered may be a moment old: here it is compared first. */
async function presentAuthority(call: PaidCall, parts: GatewayParts): Promise<Authority> {
  const token = bearerToken(call.httpRequest);
  const authority = await authenticate(call, token, parts);
  const hasChanged =
    (await hasFallenBack(authority, parts.clock.now(), parts)) ||
    !(await answeredInTime(isCurrent(parts.sql, authority)));
  if (!hasChanged) {
    return authority;
  }
  parts.authenticator.forgetOrganization(authority.organizationId);
  return await authenticate(call, token, parts);
}

type CapInForce = { cap: Cap; window: BudgetWindow };

/** One a budget; of several caps on it the strictest. Provider and model are left open. */
function capsOf({ policies, apiKey }: Authority, now: Date): readonly CapInForce[] {
  const found = new Map<string, CapInForce>();
  for (const cap of policies.caps) {
    const isOfKey = cap.environment === null || cap.environment === apiKey.environment;
    const window = isOfKey ? windowAt({ ...cap, id: cap.budgetId }, now) : null;
    const other = found.get(cap.budgetId)?.cap;
    if (window !== null && (other === undefined || (cap.isHard && !other.isHard))) {
      found.set(cap.budgetId, { cap, window });
    }
  }
  return [...found.values()];
}

function budgetItem(cap: Cap, window: BudgetWindow, { limit, used, held }: WindowUse) {
  return {
    budget_id: cap.budgetId,
    budget: cap.budgetName,
    kind: cap.isHard || cap.isShadow ? "hard_cap" : "soft_cap",
    mode: cap.isShadow ? "shadow" : "enforced",
    scope: cap.scope.kind,
    scope_id: cap.scope.id,
    provider: cap.provider,
    model: cap.model,
    limit_usd: formatUsd(limit),
    settled_usd: formatUsd(used),
    held_usd: formatUsd(held),
    left_usd: formatUsd(limit - used - held),
    resets_at: window.end?.toISOString() ?? null,
  };
}

/** How dear one request may be at most. */
function requestMaxUsd({ apiKey, policies }: Authority): string | null {
  const limits = [apiKey.reservationMaxNanoUsd, policies.requestMaxNanoUsd];
  const [smallest] = limits
    .filter((limitNanoUsd) => limitNanoUsd !== null)
    .sort((left, right) => (left < right ? -1 : 1));
  return smallest === undefined ? null : formatUsd(smallest);
}

function useOf(uses: ReadonlyMap<string, WindowUse>, windowId: string): WindowUse {
  const use = uses.get(windowId);
  if (use === undefined) {
    throw new Error("budgets and policies are never deleted");
  }
  return use;
}
