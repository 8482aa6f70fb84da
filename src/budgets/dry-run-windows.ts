/** The last checks of a dry run: whether the windows of caps and rate limits have room. */
import type { Sql } from "../database/client.ts";
import { PublicError } from "../errors.ts";
import type { Authority } from "../keys/authority.ts";
import { formatUsd, type NanoUsd } from "../money.ts";
import type { TokenBounds } from "../pricing/upper-bound.ts";
import {
  type Cap,
  type CapWindow,
  type RateLimitWindow,
  type Selection,
  windowsOf,
} from "./applicable.ts";
import { type DryRunStep, step } from "./dry-run-step.ts";
import { type WindowUse, windowUses } from "./window-state.ts";

type Needed = { readonly bounds: TokenBounds; readonly amountNanoUsd: NanoUsd };

/**
 * `before`: default deny, which is told before reviews. Then hard caps and rate limits in the order
 * in which they decide, then what only counts.
 */
export async function windowSteps(
  sql: Sql,
  authority: Authority,
  selection: Selection,
  needed: Needed,
  now: Date,
): Promise<{ before: readonly DryRunStep[]; steps: readonly DryRunStep[] }> {
  const { hard, soft, rates } = windowsOf(authority.policies, selection, now);
  const uses = await windowUses(sql, authority.organizationId, {
    budgets: [...hard, ...soft].map(({ window }) => ({ id: window.id, ownerId: window.budgetId })),
    rates: rates.map(({ window }) => ({ id: window.id, ownerId: window.policyId })),
  });
  const hasRoom = (windowId: string, amount: bigint): boolean => {
    const { limit, used, held } = uses.get(windowId) ?? NO_ROOM;
    return limit - used - held >= amount;
  };
  const capSteps = (caps: readonly CapWindow[]) =>
    caps.map(({ cap, window }) =>
      capStep(cap, uses.get(window.id) ?? NO_ROOM, hasRoom(window.id, needed.amountNanoUsd)),
    );
  const rateSteps = rates.map((rate) =>
    rateStep(rate, hasRoom(rate.window.id, unitsOf(rate, needed.bounds))),
  );
  const noCap = hard.length > 0 ? null : new PublicError("no_hard_cap_policy");
  const isEnforced = ({ mode }: DryRunStep) => mode === "enforced";
  return {
    before: [step("default_deny", null, noCap, "A hard cap applies.")],
    steps: [
      ...capSteps(hard),
      ...rateSteps.filter(isEnforced),
      ...capSteps(soft),
      ...rateSteps.filter((rate) => !isEnforced(rate)),
    ],
  };
}

const NO_ROOM: WindowUse = { limit: 0n, used: 0n, held: 0n };

function capStep(cap: Cap, { limit, used, held }: WindowUse, hasRoom: boolean): DryRunStep {
  const left = formatUsd(limit - used - held);
  const message = `The budget "${cap.budgetName}" has $${left} left.`;
  const named = { policyId: cap.policyId, policyName: cap.policyName };
  if (cap.isHard) {
    const refusal = hasRoom ? null : new PublicError("budget_exceeded", message);
    return step("hard_cap", named, refusal, message);
  }
  const counted = step(cap.isShadow ? "hard_cap" : "soft_cap", named, null, message);
  return cap.isShadow
    ? { ...counted, mode: "shadow", verdict: hasRoom ? "counts" : "refuses" }
    : { ...counted, verdict: "counts" };
}

function rateStep({ limit }: RateLimitWindow, hasRoom: boolean): DryRunStep {
  const per = limit.period === null ? "at the same time" : `a ${limit.period}`;
  const message = `It allows ${limit.limit} ${limit.unit.replace("_", " ")} ${per}.`;
  if (limit.isShadow) {
    const counted = step("rate_limit", limit, null, message);
    return { ...counted, mode: "shadow", verdict: hasRoom ? "counts" : "refuses" };
  }
  const refusal = hasRoom ? null : new PublicError("rate_limit_exceeded", `${message} It is full.`);
  return step("rate_limit", limit, refusal, message);
}

function unitsOf({ limit }: RateLimitWindow, bounds: TokenBounds): bigint {
  return limit.unit === "tokens" ? bounds.promptTokensMax + bounds.completionTokensMax : 1n;
}
