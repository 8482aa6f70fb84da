/** SQL that writes the audit log; event-queries.ts reads it, chain-queries.ts seals it. */
import type { Queryable } from "../database/client.ts";

export type AuditFacts = Readonly<
  Record<string, string | number | boolean | null | readonly string[]>
>;

export type AuditRow = {
  organizationId: string;
  id: string;
  occurredAt: Date;
  userId: string | null;
  serviceTokenId: string | null;
  action: string;
  subjectKind: string;
  subjectId: string;
  before: AuditFacts | null;
  after: AuditFacts | null;
  requestId: string | null;
  clientAddress: string | null;
  userAgent: string | null;
};

export async function auditEventInsert(sql: Queryable, row: AuditRow): Promise<void> {
  await sql`
    -- name: audit_log.insert
    insert into audit_log (
      organization_id, id, occurred_at, user_id, service_token_id, action, subject_kind,
      subject_id, before, after, request_id, client_address, user_agent
    )
    values (
      ${row.organizationId}, ${row.id}, ${row.occurredAt}, ${row.userId}, ${row.serviceTokenId},
      ${row.action}, ${row.subjectKind}, ${row.subjectId},
      ${row.before === null ? null : sql.json(row.before)},
      ${row.after === null ? null : sql.json(row.after)},
      ${row.requestId}, ${row.clientAddress}, ${row.userAgent}
    )
  `;
}
