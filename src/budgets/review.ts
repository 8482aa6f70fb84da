/** A person's decision on a review: a permit for one call, or for a time; or none. */
import { type Change, recordAuditEvent } from "../audit/audit-event.ts";
import type { Transaction } from "../database/client.ts";
import { requireVersion } from "../database/require-version.ts";
import { PublicError } from "../errors.ts";
import { formatUsd, type NanoUsd } from "../money.ts";
import {
  type LockedReviewRow,
  type PermitCovers,
  type PermitKind,
  reviewDecide,
  reviewLock,
} from "./review-queries.ts";

type DecidedReview = {
  organizationId: string;
  id: string;
  expectedVersion: number;
  reason: string | null;
};

export type NewPermit = {
  kind: PermitKind;
  covers: PermitCovers;
  /** No call that can cost more; null: what was asked for at most. */
  maxNanoUsd: NanoUsd | null;
  /** Needed for a permit for a time; a permit for one call ends after a day without it. */
  endsAt: Date | null;
};

const ONCE_ENDS_AFTER_MS = 24 * 60 * 60_000;
const ENDS_AFTER_MAX_MS = 31 * 24 * 60 * 60_000;

/** Throws `not_found`, `version_stale`, `review_decided`, and `invalid_request` for a wrong end. */
export async function grantReview(
  transaction: Transaction,
  review: DecidedReview & { permit: NewPermit },
  change: Change,
): Promise<void> {
  const endsAt = endOf(review.permit, change.at);
  const row = await lockForDecision(transaction, review);
  if (row.status !== "open") {
    throw new PublicError("review_decided", `The review was ${row.status} before.`);
  }
  const { kind, covers } = review.permit;
  const maxNanoUsd = review.permit.maxNanoUsd ?? row.amount_nano_usd;
  const permit = { kind, covers, maxNanoUsd, endsAt };
  await decide(transaction, { ...review, permit }, change);
  await recordAuditEvent(
    transaction,
    {
      organizationId: review.organizationId,
      action: "review.grant",
      subjectId: review.id,
      before: { status: row.status, amountUsd: formatUsd(row.amount_nano_usd) },
      after: {
        status: "granted",
        permit: kind,
        covers,
        amountMaxUsd: formatUsd(maxNanoUsd),
        endsAt: endsAt.toISOString(),
        reason: review.reason,
      },
    },
    change,
  );
}

/** Denies, or takes a permit away that was not spent. Throws as `grantReview` does. */
export async function denyReview(
  transaction: Transaction,
  review: DecidedReview,
  change: Change,
): Promise<void> {
  const row = await lockForDecision(transaction, review);
  if (row.status === "denied") {
    throw new PublicError("review_decided", "The review was denied before.");
  }
  if (row.used_at !== null) {
    throw new PublicError("review_decided", "The permit was spent.");
  }
  await decide(transaction, { ...review, permit: null }, change);
  await recordAuditEvent(
    transaction,
    {
      organizationId: review.organizationId,
      action: "review.deny",
      subjectId: review.id,
      before: { status: row.status },
      after: { status: "denied", reason: review.reason },
    },
    change,
  );
}

async function decide(
  transaction: Transaction,
  review: Pick<Parameters<typeof reviewDecide>[1], "organizationId" | "id" | "permit" | "reason">,
  change: Change,
): Promise<void> {
  const decision = { decidedAt: change.at, decidedByUserId: change.userId };
  await reviewDecide(transaction, { ...review, ...decision });
}

async function lockForDecision(
  transaction: Transaction,
  { organizationId, id, expectedVersion }: DecidedReview,
): Promise<LockedReviewRow> {
  const row = await reviewLock(transaction, { organizationId, id });
  if (row === null) {
    throw new PublicError("not_found", "There is no such review.");
  }
  requireVersion(row, expectedVersion);
  return row;
}

function endOf({ kind, endsAt }: NewPermit, now: Date): Date {
  if (endsAt === null && kind === "until") {
    throw new PublicError("invalid_request", "A permit for a time needs its end.", {
      param: "endsAt",
    });
  }
  const end = endsAt ?? new Date(now.getTime() + ONCE_ENDS_AFTER_MS);
  const endsInMs = end.getTime() - now.getTime();
  if (endsInMs <= 0 || endsInMs > ENDS_AFTER_MAX_MS) {
    throw new PublicError("invalid_request", "It must end in the future, within 31 days.", {
      param: "endsAt",
    });
  }
  return end;
}
