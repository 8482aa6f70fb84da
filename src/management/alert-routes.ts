/** Alerts, read only: they are raised and resolved by what causes them. */
import { z } from "zod";
import { ALERT_KINDS, ALERT_SEVERITIES } from "../notifications/alert-kind.ts";
import { type AlertRow, alertList } from "../notifications/queries.ts";
import type { Dependencies } from "./dependencies.ts";
import { noBody, noParams, type Resource } from "./endpoint.ts";
import { instant, timeOrNull } from "./fields.ts";
import { memberEndpoint } from "./member-endpoint.ts";
import { cursorOfTime, pageAnswer, pageOf, pageQuery, timePlace } from "./page.ts";

const alertAnswer = z.strictObject({
  id: z.string(),
  kind: z.enum(ALERT_KINDS),
  severity: z.enum(ALERT_SEVERITIES),
  isInstallationWide: z
    .boolean()
    .meta({ description: "About the installation, and shown to every organization." }),
  subject: z.string().meta({ description: "What it is about: the id of a budget, of a node, …" }),
  summary: z.string().meta({ description: "One sentence for a person." }),
  details: z
    .record(z.string(), z.union([z.string(), z.number(), z.null()]))
    .meta({ description: "Numbers and ids behind the summary." }),
  openedAt: instant,
  lastSeenAt: instant,
  resolvedAt: instant.nullable().meta({ description: "Null while it is open." }),
  durationSeconds: z.int().nullable().meta({ description: "Null while it is open." }),
});

const example: z.output<typeof alertAnswer> = {
  id: "alt_01KAJ3M2YV8Q4T6W9ZB5C7D1E2",
  kind: "soft_cap_reached",
  severity: "warning",
  isInstallationWide: false,
  subject: "bud_01KAJ3M2YV8Q4T6W9ZB5C7D1E2",
  summary:
    'Budget "Platform team" has reached its soft cap of $25: $24.9 spent, $0.2 held. ' +
    "Nothing is blocked.",
  details: { budgetName: "Platform team", limitUsd: "25", settledUsd: "24.9", heldUsd: "0.2" },
  openedAt: "2026-11-21T09:30:00.000Z",
  lastSeenAt: "2026-11-21T09:45:00.000Z",
  resolvedAt: null,
  durationSeconds: null,
};

export function alertResource(dependencies: Dependencies): Resource {
  const list = memberEndpoint(dependencies, {
    method: "GET",
    path: "",
    summary: "List alerts",
    description: "Newest first, open and resolved ones, the installation's among them.",
    params: noParams,
    query: pageQuery.extend({
      kind: z.enum(ALERT_KINDS).optional(),
      state: z.enum(["open", "resolved"]).optional(),
    }),
    body: noBody,
    capabilities: ["alert.read"],
    answer: pageAnswer(alertAnswer),
    answerExample: { items: [example], nextCursor: null },
    run: async ({ query, member }) => {
      const rows = await alertList(dependencies.sql, {
        organizationId: member.organization.id,
        kind: query.kind ?? null,
        isOpen: query.state === undefined ? null : query.state === "open",
        before: timePlace("alert", query),
        limit: query.limit + 1,
      });
      return pageOf(rows, query.limit, itemOf, (row) => cursorOfTime(row.opened_at_us, row));
    },
  });
  return { prefix: "/alerts", tag: "Alerts", endpoints: [list] };
}

function itemOf(row: AlertRow): z.output<typeof alertAnswer> {
  const { resolved_at: resolvedAt, opened_at: openedAt } = row;
  const durationMs = resolvedAt === null ? null : resolvedAt.getTime() - openedAt.getTime();
  return {
    id: row.id,
    kind: row.kind,
    severity: row.severity,
    isInstallationWide: row.organization_id === "",
    subject: row.subject,
    summary: row.summary,
    details: row.details,
    openedAt: openedAt.toISOString(),
    lastSeenAt: row.last_seen_at.toISOString(),
    resolvedAt: timeOrNull(resolvedAt),
    durationSeconds: durationMs === null ? null : Math.round(durationMs / 1_000),
  };
}
