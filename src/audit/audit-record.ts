/** An event of the audit log as it is shown: by the API, and in both forms of the export. */
import type { AuditEventRow } from "./event-queries.ts";
import type { AuditFacts } from "./queries.ts";

export type AuditRecord = {
  id: string;
  organizationId: string;
  occurredAt: string;
  userId: string | null;
  userEmail: string | null;
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

export function auditRecordOf(row: AuditEventRow): AuditRecord {
  return {
    id: row.id,
    organizationId: row.organization_id,
    occurredAt: row.occurred_at.toISOString(),
    userId: row.user_id,
    userEmail: row.user_email,
    serviceTokenId: row.service_token_id,
    action: row.action,
    subjectKind: row.subject_kind,
    subjectId: row.subject_id,
    before: row.before,
    after: row.after,
    requestId: row.request_id,
    clientAddress: row.client_address,
    userAgent: row.user_agent,
  };
}
