/** The audit log, read only: who changed what, from where. Exported by audit-export.ts. */
import { z } from "zod";
import { auditRecordOf } from "../audit/audit-record.ts";
import { auditEventFind, auditEventList } from "../audit/event-queries.ts";
import { requireFound } from "../errors.ts";
import { auditExport } from "./audit-export.ts";
import { auditExample, auditFilterOf, auditFilters } from "./audit-fields.ts";
import type { Dependencies } from "./dependencies.ts";
import { type Endpoint, noBody, noParams, noQuery, type Resource } from "./endpoint.ts";
import { idField, instant } from "./fields.ts";
import { memberEndpoint } from "./member-endpoint.ts";
import { cursorOfTime, pageAnswer, pageOf, pageQuery, timePlace } from "./page.ts";

const facts = z
  .record(
    z.string(),
    z.union([z.string(), z.number(), z.boolean(), z.array(z.string()).readonly()]).nullable(),
  )
  .nullable();

const eventAnswer = z.strictObject({
  id: z.string(),
  organizationId: z.string(),
  occurredAt: instant,
  userId: z
    .string()
    .nullable()
    .meta({ description: "Null where the installation itself acted: first set-up, command line." }),
  userEmail: z.string().nullable().meta({ description: "What the user has today." }),
  serviceTokenId: z
    .string()
    .nullable()
    .meta({ description: "Where automation acted; the user is the one who made its token." }),
  action: z.string(),
  subjectKind: z.string(),
  subjectId: z.string(),
  before: facts,
  after: facts,
  requestId: z.string().nullable().meta({ description: "The `x-request-id` of the answer." }),
  clientAddress: z.string().nullable(),
  userAgent: z.string().nullable(),
});

export function auditResource(dependencies: Dependencies): Resource {
  return {
    prefix: "/audit",
    tag: "Audit",
    endpoints: [listEvents(dependencies), auditExport(dependencies), readEvent(dependencies)],
  };
}

function listEvents(dependencies: Dependencies): Endpoint {
  return memberEndpoint(dependencies, {
    method: "GET",
    path: "",
    summary: "List audit events",
    description: "Who changed what, newest first. An event never changes.",
    params: noParams,
    query: pageQuery.extend(auditFilters),
    body: noBody,
    capabilities: ["audit.read"],
    answer: pageAnswer(eventAnswer),
    answerExample: { items: [auditExample], nextCursor: null },
    run: async ({ query, member }) => {
      const filter = auditFilterOf(member.organization.id, query);
      const before = timePlace("auditEvent", query);
      const page = { before, limit: query.limit + 1 };
      const rows = await auditEventList(dependencies.sql, filter, page);
      return pageOf(rows, query.limit, auditRecordOf, (row) =>
        cursorOfTime(row.occurred_at_us, row),
      );
    },
  });
}

function readEvent(dependencies: Dependencies): Endpoint {
  return memberEndpoint(dependencies, {
    method: "GET",
    path: "/:id",
    summary: "Read an audit event",
    description: "One event of the organization.",
    params: z.strictObject({ id: idField("auditEvent", auditExample.id) }),
    query: noQuery,
    body: noBody,
    capabilities: ["audit.read"],
    answer: eventAnswer,
    answerExample: auditExample,
    run: async ({ params, member }) => {
      const event = { organizationId: member.organization.id, id: params.id };
      const row = await auditEventFind(dependencies.sql, event);
      return auditRecordOf(requireFound(row, "audit event"));
    },
  });
}
