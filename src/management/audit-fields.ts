/** What can be asked of the audit log, by the list and by the export. */
import { z } from "zod";
import type { AuditRecord } from "../audit/audit-record.ts";
import type { AuditFilter } from "../audit/event-queries.ts";
import { isId } from "../id.ts";
import { timeField } from "./fields.ts";
import { InvalidFieldsError } from "./problem.ts";

const SUBJECT_CHARACTERS_MAX = 100;

export const auditFilters = {
  actorId: z
    .string()
    .refine((text) => isId("user", text) || isId("serviceToken", text), {
      error: "must be the id of a user or of a service token",
    })
    .optional()
    .meta({ description: "Only what this user or service token did." }),
  action: z
    .string()
    .regex(/^[a-z][a-z_]{0,39}(\.[a-z][a-z_]{0,39})?$/, "must be as api_key.create, or api_key")
    .optional()
    .meta({ description: "Only this action, or only those on this kind of thing." }),
  subjectId: z
    .string()
    .min(1, "must be an id")
    .max(SUBJECT_CHARACTERS_MAX, "is too long for an id")
    .regex(/^\P{Cc}*$/u, "must be an id")
    .optional()
    .meta({ description: "Only what happened to this key, budget, member, …" }),
  from: timeField.optional().meta({ description: "From this instant on." }),
  to: timeField.optional().meta({ description: "Before this instant." }),
};

type AuditQuery = z.output<z.ZodObject<typeof auditFilters>>;

/** Throws `InvalidFieldsError` when it would end before it begins. */
export function auditFilterOf(organizationId: string, query: AuditQuery): AuditFilter {
  const { actorId = null, action = null, subjectId = null, from = null, to = null } = query;
  if (from !== null && to !== null && from >= to) {
    throw new InvalidFieldsError([{ field: "to", reason: "must be after from" }]);
  }
  return { organizationId, actorId, action, subjectId, from, to };
}

export const auditExample: AuditRecord = {
  id: "aud_01KAJ3M2YV8Q4T6W9ZB5C7D1E2",
  organizationId: "org_01KAJ3M2YV8Q4T6W9ZB5C7D1E2",
  occurredAt: "2026-11-21T09:30:00.000Z",
  userId: "usr_01KAJ3M2YV8Q4T6W9ZB5C7D1E2",
  userEmail: "ada@example.com",
  serviceTokenId: null,
  action: "budget.change",
  subjectKind: "budget",
  subjectId: "bud_01KAJ3M2YV8Q4T6W9ZB5C7D1E2",
  before: { amountUsd: "500" },
  after: { amountUsd: "800" },
  requestId: "req_01KAJ3M2YV8Q4T6W9ZB5C7D1E2",
  clientAddress: "192.0.2.7",
  userAgent: "Mozilla/5.0",
};
