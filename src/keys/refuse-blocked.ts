/** What a block covers, and what a caller is told of it. */
import { PublicError } from "../errors.ts";
import type { Authority } from "./authority.ts";
import type { Block, BlockTarget } from "./block-queries.ts";
import { isGranted } from "./model-grant.ts";

/** Where a call goes. Null where it goes nowhere, as for the list of models. */
type Destination = { readonly provider: string; readonly model: string };

/** Throws `blocked` when a block is in force on one of the key's scopes, or on where it calls. */
export function refuseBlocked(
  authority: Pick<Authority, "scopes" | "blocks">,
  destination: Destination | null,
  at: Date,
): void {
  const block = authority.blocks.find(
    ({ target, endsAt }) =>
      (endsAt === null || endsAt > at) && covers(target, authority.scopes, destination),
  );
  if (block !== undefined) {
    throw blockedError(block);
  }
}

/** Whether a call belongs to what is blocked. */
export function covers(
  target: BlockTarget,
  scopes: Authority["scopes"],
  destination: Destination | null,
): boolean {
  const { kind, id: targetId } = target;
  if (kind === "provider") {
    return destination?.provider === targetId;
  }
  if (kind === "model") {
    return destination !== null && isGranted([targetId], destination.provider, destination.model);
  }
  // By the id alone, which carries its kind: an agent that is moved below another is a subagent
  // from then on, and stays blocked.
  return scopes.some(({ id }) => id === targetId);
}

export function blockedError({ id, target, reason, endsAt }: Block): PublicError {
  const until = endsAt === null ? "" : ` Until ${endsAt.toISOString()}.`;
  return new PublicError("blocked", `Blocked by an administrator: ${reason}${until}`, {
    details: {
      block_id: id,
      target: target.kind,
      target_id: target.id,
      reason,
      ends_at: endsAt?.toISOString() ?? null,
    },
  });
}
