/**
 * Alerts: what needs a look by a person. Whoever looks for causes hands over all that it found, and
 * this file makes the open alerts equal to it: what is new is raised, what is still there is seen
 * again, what is gone is resolved. Sending them anywhere is not done here.
 */
import type { Sql } from "../database/client.ts";
import { inTransaction } from "../database/transaction.ts";
import { newId } from "../id.ts";
import type { Log } from "../log.ts";
import type { AlertKind, Finding } from "./alert-kind.ts";
import {
  type AlertChangeRow,
  alertsRaise,
  alertsResolve,
  alertsResolveEarlierWindows,
} from "./queries.ts";

/** What was looked for: these kinds, on one node (its id is their subject) or everywhere. */
export type Search = { readonly kinds: readonly AlertKind[]; readonly nodeId: string | null };

/**
 * Makes the open alerts of a search equal to what it found. Answers how many were raised, changed
 * their severity or were resolved; each is one line of the log.
 */
export async function matchAlerts(
  { sql, log, now }: { sql: Sql; log: Log; now: Date },
  search: Search,
  findings: readonly Finding[],
): Promise<number> {
  const rows = findings.map(({ organizationId, ...finding }) => ({
    ...finding,
    organizationId: organizationId ?? "",
    id: newId("alert", now),
  }));
  const { raised, resolved } = await inTransaction(sql, async (transaction) => {
    const earlier = await alertsResolveEarlierWindows(transaction, rows, now);
    const found = await alertsRaise(transaction, rows, now);
    const gone = await alertsResolve(transaction, search, rows, now);
    return { raised: found, resolved: [...earlier, ...gone] };
  });
  for (const alert of raised) {
    log[alert.severity === "critical" ? "error" : "warn"]("alert.raised", fieldsOf(alert));
  }
  for (const alert of resolved) {
    const durationMs = now.getTime() - alert.opened_at.getTime();
    log.info("alert.resolved", { ...fieldsOf(alert), durationMs });
  }
  return raised.length + resolved.length;
}

function fieldsOf({ id, organization_id, kind, severity, subject }: AlertChangeRow) {
  return {
    alertId: id,
    ...(organization_id === "" ? {} : { organizationId: organization_id }),
    alertKind: kind,
    severity,
    subject,
  };
}
