/**
 * Who changed what. Every verb that changes a key, policy, budget, role, account or part of the
 * hierarchy takes a `Change` and writes its row in its own transaction, so that no change can be
 * committed without its row. Facts never hold secrets; what looks like one is masked all the same.
 */
import type { Transaction } from "../database/client.ts";
import { newId } from "../id.ts";
import { maskFacts, maskText } from "./mask-facts.ts";
import { type AuditFacts, auditEventInsert } from "./queries.ts";

/** From where something was changed, as far as the request says so. */
export type ChangeSource = {
  readonly clientAddress: string | null;
  readonly userAgent: string | null;
};

/** Who changes something, when, and in which request. */
export type Change = Partial<ChangeSource> & {
  /** Null where the installation itself acts: first set-up, command line. */
  readonly userId: string | null;
  /** Where automation acts; the user is the one who made its token. */
  readonly serviceTokenId?: string | null;
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

const ADDRESS_CHARACTERS_MAX = 100;
const USER_AGENT_CHARACTERS_MAX = 300;

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
    serviceTokenId: change.serviceTokenId ?? null,
    action: event.action,
    subjectKind: event.action.slice(0, event.action.indexOf(".")),
    subjectId: event.subjectId,
    before: event.before === undefined ? null : maskFacts(event.before),
    after: event.after === undefined ? null : maskFacts(event.after),
    requestId: change.requestId,
    clientAddress: shorten(change.clientAddress, ADDRESS_CHARACTERS_MAX),
    userAgent: shorten(change.userAgent, USER_AGENT_CHARACTERS_MAX),
  });
}

/** Masked before it is cut, so that a cut through a secret cannot hide it. Null for nothing. */
function shorten(text: string | null | undefined, charactersMax: number): string | null {
  const printable = maskText(text ?? "").replaceAll(/\p{Cc}/gu, " ");
  return printable === "" ? null : printable.slice(0, charactersMax);
}
