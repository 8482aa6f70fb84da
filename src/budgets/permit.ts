/**
 * What `review` policies do to a call: it needs a permit of each that it falls under. A permit for
 * one call is spent by a conditional update that commits before the money is reserved, so that it
 * is spent once however many calls ask for it at the same time. It is given back when nothing was
 * reserved, and may be spent again when the reservation was released. A node that is killed between
 * the two leaves it spent: it fails closed, and a person permits the call again.
 */
import type { Sql } from "../database/client.ts";
import { answeredInTime } from "../database/in-time.ts";
import { inTransaction } from "../database/transaction.ts";
import { PublicError } from "../errors.ts";
import { newId } from "../id.ts";
import { formatUsd } from "../money.ts";
import type { ReviewRule } from "./applicable.ts";
import {
  type PermitNeed,
  permitIsOpen,
  permitSpend,
  permitsReturn,
  reviewFile,
} from "./review-queries.ts";

export type PermittedCall = Omit<PermitNeed, "policyId"> & {
  reservationId: string;
  /** Of the rules that ask for the permits. */
  governanceEpoch: bigint;
};

const STALE = { status: "stale" } as const;

class PermitMissingError extends Error {
  readonly rule: ReviewRule;

  constructor(rule: ReviewRule) {
    super("a permit is missing");
    this.rule = rule;
  }
}

/**
 * Reserves under the permits that the call needs. Throws `review_required` with the review's id
 * when one is missing; then none is spent and `reserve` does not run. Answers `stale` when one is
 * missing under rules that are no longer in force.
 */
export async function underPermits<Outcome extends { readonly status: string }>(
  sql: Sql,
  rules: readonly ReviewRule[],
  call: PermittedCall,
  now: Date,
  reserve: () => Promise<Outcome>,
): Promise<Outcome | typeof STALE> {
  const policyIds = rules.map(({ policyId }) => policyId);
  // What cannot be given back stays spent.
  const giveBack = () => permitsReturn(sql, { ...call, policyIds }).catch(() => {});
  const missing = await spendAll(sql, rules, call, now, giveBack);
  if (missing !== null) {
    return await askForReview(sql, missing, call, now);
  }
  try {
    const outcome = await reserve();
    if (outcome.status !== "granted") {
      await giveBack();
    }
    return outcome;
  } catch (error) {
    // The writer releases what it may hold after all.
    await giveBack();
    throw error;
  }
}

/** Spends a permit of each rule, or none: then answers the first rule that has none. */
async function spendAll(
  sql: Sql,
  rules: readonly ReviewRule[],
  call: PermittedCall,
  now: Date,
  giveBack: () => Promise<unknown>,
): Promise<ReviewRule | null> {
  const spending = inTransaction(sql, async (transaction) => {
    for (const rule of rules) {
      const need = { ...call, policyId: rule.policyId };
      const isPermitted =
        (await permitIsOpen(transaction, need, now)) ||
        (await permitSpend(transaction, need, call.reservationId, now));
      if (!isPermitted) {
        throw new PermitMissingError(rule);
      }
    }
  });
  try {
    await answeredInTime(spending);
    return null;
  } catch (error) {
    const cause = error instanceof PublicError ? error.cause : error;
    if (cause instanceof PermitMissingError) {
      return cause.rule;
    }
    // It was too late for the caller: what it spends after all is free again.
    spending.then(giveBack).catch(() => {});
    throw error;
  }
}

async function askForReview(
  sql: Sql,
  rule: ReviewRule,
  call: PermittedCall,
  now: Date,
): Promise<typeof STALE> {
  const { policyId, policyName } = rule;
  const filed = { ...call, policyId, id: newId("review", now), requestedAt: now };
  const reviewId = await answeredInTime(reviewFile(sql, filed));
  if (reviewId === null) {
    return STALE;
  }
  const needed = formatUsd(call.amountNanoUsd);
  throw new PublicError(
    "review_required",
    `The policy "${policyName}" asks a person first: this request can cost up to $${needed}. ` +
      `Ask for a permit for review ${reviewId}, then send it again.`,
    {
      details: {
        review_id: reviewId,
        policy_id: policyId,
        policy: policyName,
        needed_usd: needed,
      },
    },
  );
}
