/** A new budget: how much may be spent, where and in which period. A policy makes it a cap. */
import { type Change, recordAuditEvent } from "../audit/audit-event.ts";
import type { Transaction } from "../database/client.ts";
import { PublicError } from "../errors.ts";
import { newId } from "../id.ts";
import { formatUsd, type NanoUsd } from "../money.ts";
import { refuseArchivedScope } from "../organizations/place.ts";
import type { Scope } from "../organizations/scopes.ts";
import { budgetInsert } from "./queries.ts";
import { scopeIsInUse } from "./scope-queries.ts";
import type { BudgetPeriod } from "./window.ts";

export type NewBudget = {
  organizationId: string;
  name: string;
  scope: Scope;
  /** The next four select what the budget counts; null selects everything. */
  provider: string | null;
  model: string | null;
  tool: string | null;
  environment: "production" | "staging" | "development" | null;
  amountNanoUsd: NanoUsd;
  period: BudgetPeriod;
  /** IANA name of the zone in which days, weeks and months begin. */
  timeZone: string;
  /** Local date and time from which periods are counted; without one, the calendar's. */
  anchor?: string | null;
  /** Both set for the period `fixed`, both null otherwise. */
  startsAt: Date | null;
  endsAt: Date | null;
};

/** Creates a budget. Answers its id. Throws `invalid_request` when there is no such scope. */
export async function createBudget(
  transaction: Transaction,
  budget: NewBudget,
  change: Change,
): Promise<string> {
  const { organizationId, scope, ...fields } = budget;
  await refuseUnknownScope(transaction, organizationId, scope);
  const id = newId("budget", change.at);
  await budgetInsert(transaction, {
    ...fields,
    organizationId,
    id,
    scopeKind: scope.kind,
    scopeId: scope.id,
    createdAt: change.at,
  });
  await recordAuditEvent(
    transaction,
    {
      organizationId,
      action: "budget.create",
      subjectId: id,
      after: auditFacts(budget),
    },
    change,
  );
  return id;
}

function auditFacts(budget: NewBudget) {
  const { organizationId: _, scope, amountNanoUsd, startsAt, endsAt, ...facts } = budget;
  return {
    ...facts,
    scopeKind: scope.kind,
    scopeId: scope.id,
    amountUsd: formatUsd(amountNanoUsd),
    startsAt: startsAt?.toISOString() ?? null,
    endsAt: endsAt?.toISOString() ?? null,
  };
}

/** Throws `invalid_request` naming `scope.id` unless the organization has such a scope, active. */
export async function refuseUnknownScope(
  transaction: Transaction,
  organizationId: string,
  scope: Scope,
): Promise<void> {
  await refuseArchivedScope(transaction, organizationId, scope);
  if (!(await scopeIsInUse(transaction, { organizationId, ...scope }))) {
    throw new PublicError("invalid_request", `There is no such ${scope.kind.replace("_", " ")}.`, {
      param: "scope.id",
    });
  }
}
