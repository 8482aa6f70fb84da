/**
 * Who changed what. Every verb that changes a key, policy, budget, role, account or part of the
 * hierarchy takes a `Change` and writes its row in its own transaction, so that no change can be
 * committed without its row. Facts never hold secrets.
 */
import type { Transaction } from "../database/client.ts";
import { newId } from "../id.ts";
import { type AuditFacts, auditEventInsert } from "./queries.ts";

/** Who changes something, when, and in which request. */
export type Change = {
  /** Null where the installation itself acts: first set-up, command line. */
  readonly userId: string | null;
  readonly requestId: string | null;
  readonly at: Date;
};

type AuditEvent = {
  organizationId: string;
  /** `subject.verb`, for example `api_key.create`. */
  action: `${string}.${string}`;
  subjectId: string;
  before?: AuditFacts;
  after?: AuditFacts;
};

/** A change made by the installation, not by a person who signed in. */
export function changeByInstallation(at: Date): Change {
  return { userId: null, requestId: null, at };
}

/** Writes the audit row of a change. The transaction must be the one that makes the change. */
export async function recordAuditEvent(
  transaction: Transaction,
  event: AuditEvent,
  change: Change,
): Promise<void> {
  await auditEventInsert(transaction, {
    organizationId: event.organizationId,
    id: newId("auditEvent", change.at),
    occurredAt: change.at,
    userId: change.userId,
    action: event.action,
    subjectKind: event.action.slice(0, event.action.indexOf(".")),
    subjectId: event.subjectId,
    before: event.before ?? null,
    after: event.after ?? null,
    requestId: change.requestId,
  });
}
