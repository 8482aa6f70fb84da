/**
 * Finds in the database what deserves an alert, whichever node looks: budgets (budget-causes.ts),
 * overages, holds that nobody ended, books that differ. What only a node knows of itself is in
 * node-causes.ts.
 */
import type { Queryable } from "../database/client.ts";
import { formatUsd } from "../money.ts";
import type { AlertKind, Finding } from "./alert-kind.ts";
import { BUDGET_KINDS, findBudgetCauses } from "./budget-causes.ts";
import {
  ledgerProofsDiffering,
  type OverageRow,
  overagesSince,
  reservationsStuck,
  type StuckRow,
} from "./cause-queries.ts";

/** What is looked for here. */
export const DATABASE_KINDS: readonly AlertKind[] = [
  ...BUDGET_KINDS,
  "overage",
  "reservations_stuck",
  "ledger_drift",
];

/** An overage is no lasting state: its alert is open until a day has passed without another. */
const OVERAGE_MS = 24 * 60 * 60_000;
/** The sweeper comes every 15 s: after this long it does not come, or does not succeed (R37). */
const STUCK_AFTER_MS = 2 * 60_000;
/** More are not told of each kind at once. */
const FINDINGS_MAX = 1_000;
const LEDGER_SUBJECT = "ledger";

/** All that deserves an alert of `DATABASE_KINDS` now. */
export async function findCauses(sql: Queryable, now: Date): Promise<readonly Finding[]> {
  const before = (durationMs: number): Date => new Date(now.getTime() - durationMs);
  const budgets = await findBudgetCauses(sql, now, FINDINGS_MAX);
  const overages = await overagesSince(sql, before(OVERAGE_MS), FINDINGS_MAX);
  const stuck = await reservationsStuck(sql, before(STUCK_AFTER_MS), FINDINGS_MAX);
  return [
    ...budgets,
    ...overages.map(overage),
    ...stuck.map((row) => stuckReservations(row, now)),
    ...(await ledgerDrift(sql)),
  ];
}

/** By model: a bound that is too low is too low for whoever calls it. */
function overage(row: OverageRow): Finding {
  const overUsd = formatUsd(row.over_nano_usd);
  const model = `${row.provider}/${row.model}`;
  return {
    organizationId: row.organization_id,
    kind: "overage",
    severity: "warning",
    subject: model,
    summary:
      `${row.count} call(s) of ${model} cost more than was held for them within 24 hours, ` +
      `by $${overUsd} in all. Everything is booked.`,
    details: {
      count: Number(row.count),
      overUsd,
      newestReservationId: row.newest_reservation_id,
    },
  };
}

function stuckReservations(row: StuckRow, now: Date): Finding {
  const heldUsd = formatUsd(row.amount_nano_usd);
  const overdueSeconds = Math.floor((now.getTime() - row.oldest_deadline_at.getTime()) / 1_000);
  return {
    organizationId: row.organization_id,
    kind: "reservations_stuck",
    severity: "warning",
    subject: row.organization_id,
    summary:
      `${row.count} reservation(s) of $${heldUsd} in all are held more than 2 minutes past their ` +
      "deadline: no node ends them.",
    details: { count: Number(row.count), heldUsd, overdueSeconds },
  };
}

async function ledgerDrift(sql: Queryable): Promise<readonly Finding[]> {
  const proofs = await ledgerProofsDiffering(sql);
  const [newest] = proofs;
  if (newest === undefined) {
    return [];
  }
  const worst = proofs.reduce((one, other) =>
    other.drift_nano_usd > one.drift_nano_usd ? other : one,
  );
  const driftUsd = formatUsd(worst.drift_nano_usd);
  return [
    {
      organizationId: null,
      kind: "ledger_drift",
      severity: "critical",
      subject: LEDGER_SUBJECT,
      summary:
        `The newest proof of the books found ${worst.difference_count} difference(s), ` +
        `$${driftUsd} in all: run \`spendra ledger verify\`.`,
      details: {
        differenceCount: Number(worst.difference_count),
        driftUsd,
        provedAt: newest.proved_at.toISOString(),
      },
    },
  ];
}
