/**
 * Policies in shadow: evaluated for every call that was granted, counted by policy and day, never
 * enforced. Counting does not keep a call waiting. What comes while the database counts is counted
 * together afterwards, so that there is one statement at a time whatever the traffic.
 *
 * Caps and rate limits hold the call in their windows like all others, only that these refuse
 * nothing; they would have refused it when the window is over its limit a moment after the call.
 */
import type { Sql } from "../database/client.ts";
import { isGranted } from "../keys/model-grant.ts";
import type { Log } from "../log.ts";
import type { NanoUsd } from "../money.ts";
import {
  type Allowlist,
  type GovernancePolicies,
  reviewsOf,
  type Selection,
  type ShadowPolicies,
  shadowWindowsOf,
} from "./applicable.ts";
import { type ShadowCount, shadowCountsAdd } from "./shadow-queries.ts";

export type GrantedCall = {
  readonly organizationId: string;
  readonly selection: Selection;
  readonly amountNanoUsd: NanoUsd;
};

type Verdict = { policyId: string; windowId: string | null; isRefused: boolean };

/** Beyond it calls are not counted until the database has caught up. */
const WAITING_MAX = 10_000;

/** One a pool of connections, which is one a node. */
const tallies = new WeakMap<Sql, ShadowTally>();

/** Counts a granted call for every policy in shadow that it falls under. */
export function countShadow(
  { sql, log }: { sql: Sql; log: Log },
  policies: GovernancePolicies,
  call: GrantedCall,
  at: Date,
): void {
  if (policies.shadow === null) {
    return;
  }
  const tally = tallies.get(sql) ?? new ShadowTally(sql, log);
  tallies.set(sql, tally);
  const windows = shadowWindowsOf(policies, call.selection, at);
  const verdicts = [
    ...shadowVerdicts(policies.shadow, call),
    ...windows.map((window) => ({ ...window, isRefused: false })),
  ];
  tally.add(call.organizationId, verdicts, at);
}

/** What the policies in shadow that have no window say to a call. */
export function shadowVerdicts(
  { allowlists, requestLimits, reviews }: ShadowPolicies,
  { selection, amountNanoUsd }: GrantedCall,
): readonly Verdict[] {
  const asked = new Set(reviewsOf(reviews, selection, amountNanoUsd));
  return [
    ...allowlists.map((list) => toVerdict(list, !isAllowed(list, selection))),
    ...requestLimits.map((limit) => toVerdict(limit, amountNanoUsd > limit.requestMaxNanoUsd)),
    ...reviews.map((rule) => toVerdict(rule, asked.has(rule))),
  ];
}

/** Whether an allowlist contains this provider and model. */
export function isAllowed({ providers, models }: Allowlist, selection: Selection): boolean {
  return (
    (providers === null || providers.includes(selection.provider)) &&
    (models === null || isGranted(models, selection.provider, selection.model))
  );
}

function toVerdict({ policyId }: { policyId: string }, isRefused: boolean): Verdict {
  return { policyId, windowId: null, isRefused };
}

class ShadowTally {
  readonly #sql: Sql;
  readonly #log: Log;
  #waiting = new Map<string, ShadowCount>();
  #isWriting = false;

  constructor(sql: Sql, log: Log) {
    this.#sql = sql;
    this.#log = log;
  }

  add(organizationId: string, verdicts: readonly Verdict[], at: Date): void {
    const countedOn = at.toISOString().slice(0, 10);
    for (const { policyId, windowId, isRefused } of verdicts) {
      const key = `${policyId} ${countedOn} ${windowId}`;
      const count = this.#waiting.get(key);
      if (count !== undefined) {
        count.calls += 1;
        count.refusals += isRefused ? 1 : 0;
      } else if (this.#waiting.size < WAITING_MAX) {
        const refusals = isRefused ? 1 : 0;
        const fresh = { organizationId, policyId, countedOn, windowId, calls: 1, refusals };
        this.#waiting.set(key, fresh);
      }
    }
    if (!this.#isWriting) {
      this.#write().catch((error: unknown) => {
        // These calls stay uncounted: nothing is decided by the counts.
        this.#log.warn("policy.shadow_not_counted", { error });
      });
    }
  }

  async #write(): Promise<void> {
    this.#isWriting = true;
    try {
      while (this.#waiting.size > 0) {
        const counts = [...this.#waiting.values()];
        this.#waiting = new Map();
        await shadowCountsAdd(this.#sql, counts);
      }
    } finally {
      this.#isWriting = false;
    }
  }
}
