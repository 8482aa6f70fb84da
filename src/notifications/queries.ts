/** The statements of alerts. An empty organization_id is the whole installation. */
import type { Queryable, Transaction } from "../database/client.ts";
import type { AlertDetails, AlertKind, AlertSeverity } from "./alert-kind.ts";

/** An alert that was raised, or resolved. */
export type AlertChangeRow = {
  id: string;
  organization_id: string;
  kind: AlertKind;
  severity: AlertSeverity;
  subject: string;
  opened_at: Date;
};

/** What is open afterwards. */
export type AlertFindingRow = {
  organizationId: string;
  id: string;
  kind: AlertKind;
  severity: AlertSeverity;
  subject: string;
  summary: string;
  details: AlertDetails;
};

export type AlertRow = AlertChangeRow & {
  summary: string;
  details: AlertDetails;
  opened_at_us: bigint;
  last_seen_at: Date;
  resolved_at: Date | null;
};

/**
 * An organization's alerts and those of the installation, newest first. `before.at` is a
 * timestamptz as text, or `infinity`: sent as text, because the driver would cut a time to
 * milliseconds. `isOpen` null means both.
 */
export async function alertList(
  sql: Queryable,
  page: {
    organizationId: string;
    kind: string | null;
    isOpen: boolean | null;
    before: { at: string; id: string };
    limit: number;
  },
): Promise<readonly AlertRow[]> {
  return await sql<AlertRow[]>`
    -- name: alerts.list
    select
      id, organization_id, kind, severity, subject, summary, details, opened_at,
      (extract(epoch from opened_at) * 1000000)::bigint as opened_at_us,
      last_seen_at, resolved_at
    from alerts
    where organization_id in (${page.organizationId}, '')
      and (opened_at, id) < (${page.before.at}::text::timestamptz, ${page.before.id})
      and (${page.kind}::text is null or kind = ${page.kind})
      and (${page.isOpen}::boolean is null or (resolved_at is null) = ${page.isOpen}::boolean)
    order by opened_at desc, id desc
    limit ${page.limit}
  `;
}

/** Answers those that were not open before, or were with another severity. */
export async function alertsRaise(
  transaction: Transaction,
  findings: readonly AlertFindingRow[],
  now: Date,
): Promise<readonly AlertChangeRow[]> {
  // Cast from text in the statement: the driver would encode a string for a json column once more.
  return await transaction<AlertChangeRow[]>`
    -- name: alerts.raise
    with found as (
      select *
      from json_to_recordset(${JSON.stringify(findings)}::text::json) as f(
        "organizationId" text, id text, kind text, severity text, subject text, summary text,
        details jsonb
      )
    ),
    open_before as (
      select a.id, a.severity
      from alerts a
      join found f
        on f."organizationId" = a.organization_id and f.kind = a.kind and f.subject = a.subject
      where a.resolved_at is null
    ),
    raised as (
      insert into alerts as a (
        organization_id, id, kind, severity, subject, summary, details, opened_at, last_seen_at
      )
      select
        "organizationId", id, kind, severity, subject, summary, details, ${now}, ${now}
      from found
      -- One order over all nodes.
      order by "organizationId", kind, subject
      on conflict (organization_id, kind, subject) where resolved_at is null do update
      set
        severity = excluded.severity,
        summary = excluded.summary,
        details = excluded.details,
        -- Another node's clock may be ahead.
        last_seen_at = greatest(a.last_seen_at, excluded.last_seen_at)
      returning id, organization_id, kind, severity, subject, opened_at
    )
    select r.*
    from raised r
    left join open_before o on o.id = r.id
    where o.severity is distinct from r.severity
  `;
}

/** Resolves the open alerts of windows in whose place the same was found in a later one. */
export async function alertsResolveEarlierWindows(
  transaction: Transaction,
  findings: readonly AlertFindingRow[],
  now: Date,
): Promise<readonly AlertChangeRow[]> {
  return await transaction<AlertChangeRow[]>`
    -- name: alerts.resolve_earlier_windows
    update alerts a
    set resolved_at = greatest(a.opened_at, ${now}::timestamptz)
    from json_to_recordset(${JSON.stringify(findings)}::text::json) as f(
      "organizationId" text, kind text, subject text, details jsonb
    )
    where a.resolved_at is null
      and f."organizationId" = a.organization_id
      and f.kind = a.kind
      and f.subject = a.subject
      and f.details ->> 'windowStart' <> a.details ->> 'windowStart'
    returning a.id, a.organization_id, a.kind, a.severity, a.subject, a.opened_at
  `;
}

/** Resolves the open alerts of a search that were not found again. */
export async function alertsResolve(
  transaction: Transaction,
  search: { kinds: readonly string[]; nodeId: string | null },
  findings: readonly AlertFindingRow[],
  now: Date,
): Promise<readonly AlertChangeRow[]> {
  return await transaction<AlertChangeRow[]>`
    -- name: alerts.resolve
    update alerts a
    set resolved_at = greatest(a.opened_at, ${now}::timestamptz)
    where a.resolved_at is null
      and a.kind = any(${search.kinds}::text[])
      and (${search.nodeId}::text is null or a.subject = ${search.nodeId})
      and not exists (
        select
        from json_to_recordset(${JSON.stringify(findings)}::text::json) as f(
          "organizationId" text, kind text, subject text
        )
        where f."organizationId" = a.organization_id
          and f.kind = a.kind
          and f.subject = a.subject
      )
    returning id, organization_id, kind, severity, subject, opened_at
  `;
}
