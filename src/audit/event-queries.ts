/** SQL that reads the audit log of one organization. */
import type { Queryable } from "../database/client.ts";
import type { AuditFacts } from "./queries.ts";

export type AuditEventRow = {
  organization_id: string;
  id: string;
  occurred_at: Date;
  /** The same instant in whole microseconds, for the place in a list. */
  occurred_at_us: bigint;
  user_id: string | null;
  /** What the user is called today. */
  user_email: string | null;
  service_token_id: string | null;
  action: string;
  subject_kind: string;
  subject_id: string;
  before: AuditFacts | null;
  after: AuditFacts | null;
  request_id: string | null;
  client_address: string | null;
  user_agent: string | null;
};

/** What of the log is wanted; null for all. */
export type AuditFilter = {
  organizationId: string;
  /** A user or a service token. */
  actorId: string | null;
  /** `api_key.create`, or `api_key` for all that begin with it. */
  action: string | null;
  subjectId: string | null;
  /** From this instant on, and before that one. */
  from: Date | null;
  to: Date | null;
};

function eventsOf(sql: Queryable, filter: AuditFilter) {
  return sql`
    select
      e.organization_id, e.id, e.occurred_at,
      (extract(epoch from e.occurred_at) * 1000000)::bigint as occurred_at_us,
      e.user_id, u.email as user_email, e.service_token_id, e.action, e.subject_kind,
      e.subject_id, e.before, e.after, e.request_id, e.client_address, e.user_agent
    from audit_log e
    left join users u on u.id = e.user_id
    where e.organization_id = ${filter.organizationId}
      ${
        filter.actorId === null
          ? sql``
          : sql`and ${filter.actorId} in (e.user_id, e.service_token_id)`
      }
      ${filter.action === null ? sql`` : sql`and ${filter.action} in (e.action, e.subject_kind)`}
      ${filter.subjectId === null ? sql`` : sql`and e.subject_id = ${filter.subjectId}`}
      ${filter.from === null ? sql`` : sql`and e.occurred_at >= ${filter.from}`}
      ${filter.to === null ? sql`` : sql`and e.occurred_at < ${filter.to}`}
  `;
}

/** Newest first. `before.at` is a timestamptz as text: a driver's date has milliseconds only. */
export async function auditEventList(
  sql: Queryable,
  filter: AuditFilter,
  page: { before: { at: string; id: string }; limit: number },
): Promise<readonly AuditEventRow[]> {
  return await sql<AuditEventRow[]>`
    -- name: audit_log.list
    ${eventsOf(sql, filter)}
      and (e.occurred_at, e.id) < (${page.before.at}::text::timestamptz, ${page.before.id})
    order by e.occurred_at desc, e.id desc
    limit ${page.limit}
  `;
}

/** Oldest first, behind this instant (in microseconds) and id; null for the first page. */
export async function auditEventListForward(
  sql: Queryable,
  filter: AuditFilter,
  page: { after: { atMicroseconds: bigint; id: string } | null; limit: number },
): Promise<readonly AuditEventRow[]> {
  const { after } = page;
  // Whole microseconds are exact in the double that an interval is multiplied by until 2255.
  const behind =
    after === null
      ? sql``
      : sql`
        and (e.occurred_at, e.id) > (
          timestamptz 'epoch' + ${after.atMicroseconds} * interval '1 microsecond', ${after.id}
        )
      `;
  return await sql<AuditEventRow[]>`
    -- name: audit_log.list_forward
    ${eventsOf(sql, filter)}
      ${behind}
    order by e.occurred_at, e.id
    limit ${page.limit}
  `;
}

export async function auditEventFind(
  sql: Queryable,
  event: { organizationId: string; id: string },
): Promise<AuditEventRow | null> {
  const all = { actorId: null, action: null, subjectId: null, from: null, to: null };
  const rows = await sql<AuditEventRow[]>`
    -- name: audit_log.find
    ${eventsOf(sql, { organizationId: event.organizationId, ...all })}
      and e.id = ${event.id}
  `;
  return rows[0] ?? null;
}
