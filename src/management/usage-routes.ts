/** Spend day by day, read only. */
import { z } from "zod";
import { usageDailySum } from "../ledger/queries.ts";
import { formatUsd } from "../money.ts";
import type { Dependencies } from "./dependencies.ts";
import { noBody, noParams, type Resource } from "./endpoint.ts";
import { usd } from "./fields.ts";
import { memberEndpoint } from "./member-endpoint.ts";

const DAYS_DEFAULT = 30;
const DAYS_MAX = 366;
const DAY_MS = 24 * 60 * 60 * 1000;

const days = `must be 1 to ${DAYS_MAX}`;
const usageQuery = z.strictObject({
  days: z.coerce.number(days).int(days).min(1, days).max(DAYS_MAX, days).default(DAYS_DEFAULT),
});

const usageAnswer = z.strictObject({
  items: z.array(
    z.strictObject({
      date: z.string().meta({ format: "date", description: "A UTC day." }),
      costUsd: usd,
      calls: z.int(),
    }),
  ),
});

export function usageResource(dependencies: Dependencies): Resource {
  const daily = memberEndpoint(dependencies, {
    method: "GET",
    path: "/daily",
    summary: "Spend day by day",
    description: "Oldest first, today last, every day present. An employee sees only own keys.",
    params: noParams,
    query: usageQuery,
    body: noBody,
    capabilities: ["usage.read"],
    answer: usageAnswer,
    answerExample: { items: [{ date: "2026-11-21", costUsd: "1.25", calls: 310 }] },
    run: async ({ query, member, now }) => {
      const rows = await usageDailySum(dependencies.sql, {
        organizationId: member.organization.id,
        employeeIds: member.visibleEmployeeIds,
        firstOn: dayOf(new Date(now.getTime() - (query.days - 1) * DAY_MS)),
        lastOn: dayOf(now),
      });
      return {
        items: rows.map((row) => ({
          date: row.usage_on,
          costUsd: formatUsd(row.cost_nano_usd),
          calls: Number(row.calls),
        })),
      };
    },
  });
  return { prefix: "/usage", tag: "Usage", endpoints: [daily] };
}

function dayOf(time: Date): string {
  return time.toISOString().slice(0, "2026-11-21".length);
}
