/** The ledger, read only. */
import { z } from "zod";
import { type LedgerEntryRow, ledgerEntryList } from "../ledger/queries.ts";
import { formatUsd } from "../money.ts";
import type { Dependencies } from "./dependencies.ts";
import { noBody, noParams, type Resource } from "./endpoint.ts";
import { instant, usd } from "./fields.ts";
import { memberEndpoint } from "./member-endpoint.ts";
import { cursorOfTime, pageAnswer, pageOf, pageQuery, timePlace } from "./page.ts";

const entryAnswer = z.strictObject({
  id: z.string(),
  occurredAt: instant,
  kind: z.enum(["settlement", "recovery", "adjustment", "reversal"]),
  amountUsd: usd,
  debitAccountId: z.string(),
  creditAccountId: z.string(),
  requestId: z.string().nullable(),
  reservationId: z.string().nullable(),
  spendEventId: z.string().nullable(),
  apiKeyId: z.string().nullable(),
  actorId: z.string().nullable().meta({ description: "The employee or agent of the key." }),
  reversesEntryId: z.string().nullable(),
  provider: z.string().nullable(),
  model: z.string().nullable(),
  usageSource: z.enum(["provider", "estimated", "recovered"]).nullable(),
});

const example: z.output<typeof entryAnswer> = {
  id: "ent_01KAJ3M2YV8Q4T6W9ZB5C7D1E2",
  occurredAt: "2026-11-21T09:30:00.000Z",
  kind: "settlement",
  amountUsd: "0.00123",
  debitAccountId: "acc_01KAJ3M2YV8Q4T6W9ZB5C7D1E2_spend",
  creditAccountId: "acc_01KAJ3M2YV8Q4T6W9ZB5C7D1E2_openai",
  requestId: "req_01KAJ3M2YV8Q4T6W9ZB5C7D1E2",
  reservationId: "rsv_01KAJ3M2YV8Q4T6W9ZB5C7D1E2",
  spendEventId: "spe_01KAJ3M2YV8Q4T6W9ZB5C7D1E2",
  apiKeyId: "key_01KAJ3M2YV8Q4T6W9ZB5C7D1E2",
  actorId: "emp_01KAJ3M2YV8Q4T6W9ZB5C7D1E2",
  reversesEntryId: null,
  provider: "openai",
  model: "gpt-4o-mini",
  usageSource: "provider",
};

export function ledgerEntryResource(dependencies: Dependencies): Resource {
  const list = memberEndpoint(dependencies, {
    method: "GET",
    path: "",
    summary: "List ledger entries",
    description: "Newest first. An entry never changes; an employee sees only their own work.",
    params: noParams,
    query: pageQuery,
    body: noBody,
    capabilities: ["ledger.read"],
    answer: pageAnswer(entryAnswer),
    answerExample: { items: [example], nextCursor: null },
    run: async ({ query, member }) => {
      const rows = await ledgerEntryList(dependencies.sql, {
        organizationId: member.organization.id,
        actorIds: member.visibleEmployeeIds,
        before: timePlace("ledgerEntry", query),
        limit: query.limit + 1,
      });
      return pageOf(rows, query.limit, itemOf, (row) => cursorOfTime(row.occurred_at_us, row));
    },
  });
  return { prefix: "/ledger-entries", tag: "Ledger", endpoints: [list] };
}

function itemOf(row: LedgerEntryRow): z.output<typeof entryAnswer> {
  return {
    id: row.id,
    occurredAt: row.occurred_at.toISOString(),
    kind: row.kind,
    amountUsd: formatUsd(row.amount_nano_usd),
    debitAccountId: row.debit_account_id,
    creditAccountId: row.credit_account_id,
    requestId: row.request_id,
    reservationId: row.reservation_id,
    spendEventId: row.spend_event_id,
    apiKeyId: row.api_key_id,
    actorId: row.actor_id,
    reversesEntryId: row.reverses_entry_id,
    provider: row.provider,
    model: row.model,
    usageSource: row.usage_source,
  };
}
