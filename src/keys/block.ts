/**
 * The kill switch: blocking and unblocking a scope, a provider or a model. A block holds from the
 * next reservation on, on every node, because it grows the organization's epoch. Not here: refusing
 * a call (refuse-blocked.ts) and ending running streams (gateway/cut-blocked.ts).
 */
import { type Change, recordAuditEvent } from "../audit/audit-event.ts";
import { scopeExists } from "../budgets/queries.ts";
import type { Transaction } from "../database/client.ts";
import { PublicError, requireFound } from "../errors.ts";
import { newId } from "../id.ts";
import {
  type BlockRow,
  type BlockTarget,
  blockCountInForce,
  blockInsert,
  blockLift,
  blockList,
} from "./block-queries.ts";

type NewBlock = {
  organizationId: string;
  target: BlockTarget;
  reason: string;
  cutsRunning: boolean;
  endsAt: Date | null;
};

/** Every key keeps those that concern it in memory. Two at the same instant may pass it by one. */
const BLOCKS_IN_FORCE_MAX = 1_000;

/**
 * Blocks a target. Blocking what is blocked already is a second block: each is lifted by itself.
 * Throws `invalid_request` naming the field when there is no such scope, or too many are in force.
 */
export async function createBlock(
  transaction: Transaction,
  block: NewBlock,
  change: Change,
): Promise<string> {
  await refuseUnknownTarget(transaction, block);
  await refuseTooMany(transaction, block.organizationId, change.at);
  const id = newId("block", change.at);
  await blockInsert(transaction, {
    ...block,
    id,
    createdAt: change.at,
    createdByUserId: change.userId,
  });
  await recordAuditEvent(
    transaction,
    {
      organizationId: block.organizationId,
      action: "block.create",
      subjectId: id,
      after: {
        targetKind: block.target.kind,
        targetId: block.target.id,
        reason: block.reason,
        cutsRunning: block.cutsRunning,
        endsAt: block.endsAt?.toISOString() ?? null,
      },
    },
    change,
  );
  return id;
}

/** Lifts a block. Lifting it again changes nothing. Throws `not_found`. */
export async function liftBlock(
  transaction: Transaction,
  block: { organizationId: string; id: string },
  change: Change,
): Promise<BlockRow> {
  const lift = { ...block, liftedAt: change.at, liftedByUserId: change.userId };
  if (await blockLift(transaction, lift)) {
    await recordAuditEvent(
      transaction,
      {
        organizationId: block.organizationId,
        action: "block.lift",
        subjectId: block.id,
        before: { liftedAt: null },
        after: { liftedAt: change.at.toISOString() },
      },
      change,
    );
  }
  const only = { onlyId: block.id, inForceAt: null, beforeId: null, limit: 1 };
  const [row] = await blockList(transaction, { ...block, ...only });
  return requireFound(row, "block");
}

async function refuseUnknownTarget(
  transaction: Transaction,
  { organizationId, target }: NewBlock,
): Promise<void> {
  const { kind, id } = target;
  if (kind === "provider" || kind === "model") {
    return;
  }
  if (!(await scopeExists(transaction, { organizationId, kind, id }))) {
    throw new PublicError("invalid_request", `There is no such ${kind.replace("_", " ")}.`, {
      param: "target.id",
    });
  }
}

async function refuseTooMany(
  transaction: Transaction,
  organizationId: string,
  at: Date,
): Promise<void> {
  if ((await blockCountInForce(transaction, organizationId, at)) >= BLOCKS_IN_FORCE_MAX) {
    throw new PublicError(
      "invalid_request",
      `${BLOCKS_IN_FORCE_MAX} blocks are in force. Lift some, or block a scope above them.`,
      { param: "target" },
    );
  }
}
