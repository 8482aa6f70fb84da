/**
 * The audit log as a file, oldest event first: one JSON object a line, or CSV. Read in pages, each
 * a short statement of its own: whoever reads slowly holds no connection, and no more than a page
 * is in memory.
 */
import type { Sql } from "../database/client.ts";
import { type AuditRecord, auditRecordOf } from "./audit-record.ts";
import { csvLine } from "./csv.ts";
import { type AuditEventRow, type AuditFilter, auditEventListForward } from "./event-queries.ts";

export const EXPORT_FORMATS = ["jsonl", "csv"] as const;
export type ExportFormat = (typeof EXPORT_FORMATS)[number];

/** With 500, and events of 4 kB, what waits for the garbage collector is 150 MB instead of 100. */
const PAGE_ROWS = 100;

const COLUMNS = [
  "id",
  "organizationId",
  "occurredAt",
  "userId",
  "userEmail",
  "serviceTokenId",
  "action",
  "subjectKind",
  "subjectId",
  "before",
  "after",
  "requestId",
  "clientAddress",
  "userAgent",
] as const satisfies readonly (keyof AuditRecord)[];

/** What stands above the events. */
export function exportHeading(format: ExportFormat): string {
  return format === "csv" ? csvLine(COLUMNS) : "";
}

/**
 * The events as text, a page at a time. Name a `to` that has passed: what happens while it is read
 * may or may not be in it.
 */
export async function* exportEvents(
  sql: Sql,
  filter: AuditFilter,
  format: ExportFormat,
): AsyncGenerator<string, void, undefined> {
  const lineOf = format === "csv" ? csvLineOf : jsonLineOf;
  let rows: readonly AuditEventRow[];
  let after: { atMicroseconds: bigint; id: string } | null = null;
  do {
    rows = await auditEventListForward(sql, filter, { after, limit: PAGE_ROWS });
    const last = rows.at(-1);
    if (last !== undefined) {
      after = { atMicroseconds: last.occurred_at_us, id: last.id };
      yield rows.map((row) => lineOf(auditRecordOf(row))).join("");
    }
  } while (rows.length === PAGE_ROWS);
}

function jsonLineOf(record: AuditRecord): string {
  return `${JSON.stringify(record)}\n`;
}

function csvLineOf(record: AuditRecord): string {
  return csvLine(
    COLUMNS.map((column) => {
      const cell = record[column];
      return typeof cell === "object" && cell !== null ? JSON.stringify(cell) : cell;
    }),
  );
}
