/**
 * What a node knows of itself and deserves an alert: its spool and its dead letters. Pure; the node
 * hands the findings over at each sign of life. While the database is away only its metrics tell.
 */
import type { SpoolState } from "../reservations/spool.ts";
import type { AlertKind, AlertSeverity, Finding } from "./alert-kind.ts";

/** What a node reports, each with its own id as the subject. */
export const NODE_KINDS: readonly AlertKind[] = [
  "spool_backlog",
  "spool_filling",
  "settlement_dead_letters",
];

const BACKLOG_WARNING_MS = 60_000;
const BACKLOG_CRITICAL_MS = 300_000;
const BACKLOG_RECORDS_MAX = 1_000;
/** Of the spool's limit; at the limit no new calls are taken. */
const FILLING_PERCENT = 80;

/** All that deserves an alert of `NODE_KINDS` now. */
export function nodeFindings(nodeId: string, spool: SpoolState): readonly Finding[] {
  const of = (
    kind: AlertKind,
    severity: AlertSeverity,
    summary: string,
    details: Finding["details"],
  ): Finding => ({ organizationId: null, kind, severity, subject: nodeId, summary, details });
  const { recordCount, oldestAgeMs, deadLetterCount } = spool;
  const findings: Finding[] = [];
  const oldestSeconds = Math.floor(oldestAgeMs / 1_000);
  if (oldestAgeMs > BACKLOG_WARNING_MS || recordCount > BACKLOG_RECORDS_MAX) {
    const severity = oldestAgeMs > BACKLOG_CRITICAL_MS ? "critical" : "warning";
    const summary =
      `${recordCount} settlement(s) wait on the disk of ${nodeId} for the database, ` +
      `the oldest for ${oldestSeconds} s.`;
    findings.push(of("spool_backlog", severity, summary, { recordCount, oldestSeconds }));
  }
  const usedPercent = Math.floor((spool.bytes / spool.bytesMax) * 100);
  if (usedPercent >= FILLING_PERCENT) {
    const { bytes, bytesMax } = spool;
    const isFull = bytes >= bytesMax;
    const summary = isFull
      ? `The spool of ${nodeId} is full: this node takes no new calls.`
      : `The spool of ${nodeId} is ${usedPercent}% full; when it is full, no new calls are taken.`;
    const severity = isFull ? "critical" : "warning";
    findings.push(of("spool_filling", severity, summary, { usedPercent, bytes, bytesMax }));
  }
  if (deadLetterCount > 0) {
    const summary =
      `The database refused ${deadLetterCount} settlement(s) of ${nodeId} for good: ` +
      "see `spendra settle dead-letters` there.";
    findings.push(of("settlement_dead_letters", "critical", summary, { deadLetterCount }));
  }
  return findings;
}
