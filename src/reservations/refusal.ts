/** Why a window refused a call, in the caller's terms: which limit, how full, and when it opens. */
import type { ApplicableWindows, CapWindow, RateLimitWindow } from "../budgets/applicable.ts";
import { PublicError } from "../errors.ts";
import { formatUsd, type NanoUsd } from "../money.ts";
import type { TokenBounds } from "../pricing/upper-bound.ts";
import type { WindowState } from "./reservation.ts";
import { leftOrNone } from "./writer-batch.ts";

/** A running call ends at any time: it is worth asking again soon. */
const CONCURRENCY_RETRY_SECONDS = 1;

const UNIT_NAMES = {
  requests: "requests",
  tokens: "tokens",
  concurrent_calls: "calls at the same time",
} as const;

type Needed = { readonly amountNanoUsd: NanoUsd; readonly bounds: TokenBounds };

/** `budget_exceeded` or `rate_limit_exceeded`, by the window that had no room. */
export function refusalOf(
  applicable: ApplicableWindows,
  state: WindowState,
  needed: Needed,
  now: Date,
): PublicError {
  const rate = applicable.rates.find(({ window }) => window.id === state.windowId);
  return rate === undefined
    ? budgetExceeded(
        applicable.hard.find(({ window }) => window.id === state.windowId),
        state,
        needed.amountNanoUsd,
      )
    : rateLimitExceeded(rate, state, needed.bounds, now);
}

function budgetExceeded(
  refusing: CapWindow | undefined,
  state: WindowState,
  neededNanoUsd: NanoUsd,
): PublicError {
  const resetsAt = refusing?.window.end?.toISOString() ?? null;
  const name = refusing?.cap.budgetName ?? "unknown";
  const needed = formatUsd(neededNanoUsd);
  const left = formatUsd(leftOrNone(state));
  return new PublicError(
    "budget_exceeded",
    `The budget "${name}" has $${left} left and this request can cost up to $${needed}.` +
      (resetsAt === null ? "" : ` A new period begins at ${resetsAt}.`),
    {
      details: {
        budget_id: refusing?.cap.budgetId ?? null,
        budget: name,
        scope: refusing?.cap.scope.kind ?? null,
        scope_id: refusing?.cap.scope.id ?? null,
        limit_usd: formatUsd(state.limit),
        settled_usd: formatUsd(state.used),
        held_usd: formatUsd(state.held),
        needed_usd: needed,
        resets_at: resetsAt,
      },
    },
  );
}

function rateLimitExceeded(
  { limit, window }: RateLimitWindow,
  state: WindowState,
  bounds: TokenBounds,
  now: Date,
): PublicError {
  const needed = limit.unit === "tokens" ? bounds.promptTokensMax + bounds.completionTokensMax : 1n;
  const isTooLarge = needed > state.limit;
  const per = limit.period === null ? "" : ` a ${limit.period}`;
  const message =
    `The rate limit "${limit.policyName}" allows ${state.limit} ${UNIT_NAMES[limit.unit]}${per}; ` +
    `${leftOrNone(state)} are left and this request needs up to ${needed}.` +
    (isTooLarge ? " Lower max_completion_tokens or shorten the prompt." : "");
  return new PublicError("rate_limit_exceeded", message, {
    // Waiting does not help a request that is larger than the whole limit.
    ...(isTooLarge ? {} : { retryAfterSeconds: secondsUntil(window.end, now) }),
    details: {
      policy_id: limit.policyId,
      policy: limit.policyName,
      unit: limit.unit,
      limit: Number(state.limit),
      used: Number(state.used),
      held: Number(state.held),
      needed: Number(needed),
      resets_at: window.end?.toISOString() ?? null,
    },
  });
}

function secondsUntil(end: Date | null, now: Date): number {
  return end === null
    ? CONCURRENCY_RETRY_SECONDS
    : Math.max(1, Math.ceil((end.getTime() - now.getTime()) / 1000));
}
