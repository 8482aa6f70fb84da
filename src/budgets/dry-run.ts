/**
 * What a call of a key would be told, without making it: every check in the order in which the
 * gateway makes them, each with what it says, and the answer, which is that of the first enforced
 * one that refuses. Nothing is held, recorded or sent. Exact for this moment; a moment later others
 * may have spent.
 */
import type { PriceBook } from "../catalog/model-price.ts";
import type { Sql } from "../database/client.ts";
import { type ErrorCode, errorCatalogue, PublicError } from "../errors.ts";
import { requireUsable } from "../keys/authenticate.ts";
import { type Authority, loadAuthority } from "../keys/authority.ts";
import { requireGranted } from "../keys/model-grant.ts";
import { refuseBlocked } from "../keys/refuse-blocked.ts";
import { formatUsd, type NanoUsd } from "../money.ts";
import { type TokenBounds, upperBoundOf } from "../pricing/upper-bound.ts";
import { type Allowlist, reviewsOf, type Selection } from "./applicable.ts";
import { type Described, type DryRunStep, step } from "./dry-run-step.ts";
import { windowSteps } from "./dry-run-windows.ts";
import { permitIsFree } from "./review-queries.ts";
import { isAllowed, shadowVerdicts } from "./shadow.ts";

export type DryRunAsk = {
  readonly organizationId: string;
  readonly apiKeyId: string;
  readonly provider: string;
  readonly model: string;
  /** Given the model's context window and the organization's default answer length. */
  readonly boundsOf: (contextTokensMax: bigint | null, completionDefault: bigint) => TokenBounds;
};

export type DryRun = {
  readonly steps: readonly DryRunStep[];
  /** Null when it was refused before it was known. */
  readonly boundNanoUsd: NanoUsd | null;
  /** Null: the call would be made. */
  readonly refusal: {
    readonly status: number;
    readonly code: ErrorCode;
    readonly message: string;
  } | null;
};

/** Throws `not_found` when the organization has no such key. */
export async function dryRun(
  sql: Sql,
  priceBook: PriceBook,
  ask: DryRunAsk,
  now: Date,
): Promise<DryRun> {
  const authority = await loadAuthority(sql, ask.apiKeyId);
  if (authority === null || authority.organizationId !== ask.organizationId) {
    throw new PublicError("not_found", "There is no such API key.");
  }
  const { provider, model } = ask;
  const { environment } = authority.apiKey;
  const selection: Selection = { provider, model, environment };
  const steps = keySteps(authority, selection, now);
  const priced = priceCall(authority, priceBook, ask, now);
  if (priced instanceof PublicError) {
    return conclude([...steps, step("price", null, priced)], null);
  }
  const { bounds, amountNanoUsd } = priced;
  const text = `It can cost up to $${formatUsd(amountNanoUsd)}.`;
  steps.push(step("price", null, null, text));
  steps.push(...limitSteps(authority, amountNanoUsd));
  const call = { organizationId: ask.organizationId, selection, amountNanoUsd };
  if (authority.policies.shadow !== null) {
    const shadow = shadowVerdicts(authority.policies.shadow, call);
    steps.push(...shadow.map((verdict) => shadowStep(authority, verdict)));
  }
  const windows = await windowSteps(sql, authority, selection, { bounds, amountNanoUsd }, now);
  steps.push(...windows.before, ...(await reviewSteps(sql, authority, call, now)));
  return conclude([...steps, ...windows.steps], amountNanoUsd);
}

function keySteps(authority: Authority, selection: Selection, now: Date): DryRunStep[] {
  const { apiKey, policies } = authority;
  const { provider, model } = selection;
  const account = authority.providerAccounts.has(provider)
    ? null
    : new PublicError("unknown_provider", `No account of ${provider} is set up.`);
  return [
    step(
      "key",
      null,
      refusalIn(() => requireUsable(apiKey, now)),
    ),
    step(
      "block",
      null,
      refusalIn(() => refuseBlocked(authority, selection, now)),
    ),
    step(
      "key_grants",
      null,
      refusalIn(() => requireGranted(apiKey, [], provider, model)),
    ),
    ...policies.allowlists.map((list) => step("allowlist", list, refusalOf(list, selection))),
    step("provider_account", null, account),
  ];
}

function refusalOf(list: Allowlist, selection: Selection): PublicError | null {
  if (isAllowed(list, selection)) {
    return null;
  }
  const { provider, model } = selection;
  return list.providers === null || list.providers.includes(provider)
    ? new PublicError("model_not_allowed", `It does not name the model ${model}.`)
    : new PublicError("provider_not_allowed", `It does not name ${provider}.`);
}

function refusalIn(check: () => void): PublicError | null {
  try {
    check();
    return null;
  } catch (error) {
    if (error instanceof PublicError) {
      return error;
    }
    throw error;
  }
}

function priceCall(
  authority: Authority,
  priceBook: PriceBook,
  ask: DryRunAsk,
  now: Date,
): { bounds: TokenBounds; amountNanoUsd: NanoUsd } | PublicError {
  const price = priceBook.priceOf(ask.provider, ask.model, now);
  const unpriced = new PublicError("model_not_priced", `The model ${ask.model} has no price.`);
  if (price === null) {
    return unpriced;
  }
  const completionDefault = BigInt(authority.completionTokensDefault);
  const bounds = ask.boundsOf(price.contextTokensMax, completionDefault);
  const amountNanoUsd = upperBoundOf(bounds, price);
  return amountNanoUsd === null ? unpriced : { bounds, amountNanoUsd };
}

function limitSteps({ apiKey, policies }: Authority, amountNanoUsd: NanoUsd): DryRunStep[] {
  const exceeded = (limitNanoUsd: NanoUsd): PublicError | null =>
    amountNanoUsd <= limitNanoUsd
      ? null
      : new PublicError(
          "per_request_limit_exceeded",
          `One request may cost $${formatUsd(limitNanoUsd)} at most.`,
        );
  const ofKey = apiKey.reservationMaxNanoUsd;
  return [
    ...(ofKey === null ? [] : [step("key_request_limit", null, exceeded(ofKey))]),
    ...policies.requestLimits.map((limit) =>
      step("per_request_limit", limit, exceeded(limit.requestMaxNanoUsd)),
    ),
  ];
}

async function reviewSteps(
  sql: Sql,
  authority: Authority,
  call: { organizationId: string; selection: Selection; amountNanoUsd: NanoUsd },
  now: Date,
): Promise<readonly DryRunStep[]> {
  const { apiKey, actor, policies } = authority;
  const { organizationId, selection, amountNanoUsd } = call;
  const { provider, model } = selection;
  const steps: DryRunStep[] = [];
  for (const rule of reviewsOf(policies.reviews, selection, amountNanoUsd)) {
    const named = { organizationId, policyId: rule.policyId, apiKeyId: apiKey.id };
    const need = { ...named, actorId: actor.id, provider, model, amountNanoUsd };
    const refusal = (await permitIsFree(sql, need, now))
      ? null
      : new PublicError(
          "review_required",
          `Calls above $${formatUsd(rule.aboveNanoUsd)} need one.`,
        );
    steps.push(step("review", rule, refusal, "A permit is there."));
  }
  return steps;
}

function shadowStep(
  { policies }: Authority,
  { policyId, isRefused }: { policyId: string; isRefused: boolean },
): DryRunStep {
  const { allowlists = [], requestLimits = [], reviews = [] } = policies.shadow ?? {};
  const find = (rules: readonly Described[]) => rules.find((rule) => rule.policyId === policyId);
  const policy = find(allowlists) ?? find(requestLimits) ?? find(reviews) ?? null;
  const check = find(allowlists)
    ? "allowlist"
    : find(requestLimits)
      ? "per_request_limit"
      : "review";
  const verdict = isRefused ? "refuses" : "passes";
  return { ...step(check, policy, null), mode: "shadow", verdict };
}

function conclude(steps: readonly DryRunStep[], boundNanoUsd: NanoUsd | null): DryRun {
  const first = steps.find(({ verdict, mode }) => verdict === "refuses" && mode === "enforced");
  const code = first?.code ?? null;
  const refusal =
    first === undefined || code === null
      ? null
      : { status: errorCatalogue[code].status, code, message: first.message };
  return { steps, boundNanoUsd, refusal };
}
