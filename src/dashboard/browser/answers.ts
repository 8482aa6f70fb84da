/**
 * What the management API answers, as far as this page reads it. Parsed where it arrives; unknown
 * fields are left out, so that a newer server can say more.
 */
import * as z from "zod/mini";
import { parseUsd } from "./amount.ts";

// Zod would otherwise try to compile its parsers with `new Function`, which the page's content
// security policy forbids and the browser reports. It has to be said before any schema is made.
z.config({ jitless: true });

const amountUsd = z.pipe(
  z.string().check(z.regex(/^-?\d+(\.\d{1,9})?$/)),
  z.transform((text: string) => parseUsd(text)),
);
const textOrNull = z.nullish(z.string());
const cursor = z.nullish(z.string());

export const callerAnswer = z.object({
  user: z.object({ id: z.string(), email: z.string(), name: z.nullish(z.string()) }),
  organization: z.object({ id: z.string(), name: z.string() }),
  role: textOrNull,
  capabilities: z.array(z.string()),
});

const budgetWindow = z.object({
  start: z.string(),
  end: textOrNull,
  limitUsd: amountUsd,
  settledUsd: amountUsd,
  heldUsd: amountUsd,
  leftUsd: amountUsd,
});

const budget = z.object({
  id: z.string(),
  name: z.string(),
  scope: z.object({ kind: z.string(), id: z.string(), name: textOrNull }),
  provider: textOrNull,
  model: textOrNull,
  tool: textOrNull,
  environment: textOrNull,
  amountUsd,
  period: z.string(),
  timeZone: z.string(),
  window: z.nullish(budgetWindow),
});

const ledgerEntry = z.object({
  id: z.string(),
  occurredAt: z.string(),
  kind: z.string(),
  amountUsd,
  requestId: textOrNull,
  apiKeyId: textOrNull,
  actorId: textOrNull,
  provider: textOrNull,
  model: textOrNull,
  usageSource: textOrNull,
});

export const budgetsAnswer = z.object({
  items: z.array(budget),
  nextCursor: cursor,
  capabilities: z.nullish(z.array(z.string())),
});

export const dailyUsageAnswer = z.object({
  items: z.array(z.object({ date: z.string(), costUsd: amountUsd, calls: z.number() })),
});

export const ledgerAnswer = z.object({ items: z.array(ledgerEntry), nextCursor: cursor });

export const heldAnswer = z.object({
  items: z.array(z.object({ id: z.string(), amountUsd })),
  nextCursor: cursor,
});

export const alertsAnswer = z.object({
  items: z.array(
    z.object({ id: z.string(), severity: z.string(), summary: z.string(), openedAt: z.string() }),
  ),
  nextCursor: cursor,
});

export const problemAnswer = z.object({
  title: z.nullish(z.string()),
  detail: z.nullish(z.string()),
  code: z.nullish(z.string()),
  request_id: z.nullish(z.string()),
  errors: z.nullish(z.array(z.object({ field: z.string(), reason: z.string() }))),
});

/** Who is signed in, where, and what they may see. */
export type Caller = z.infer<typeof callerAnswer>;
export type Budget = z.infer<typeof budget>;
export type BudgetWindow = z.infer<typeof budgetWindow>;
export type BudgetPage = z.infer<typeof budgetsAnswer>;
export type DailyUsage = z.infer<typeof dailyUsageAnswer>["items"][number];
export type LedgerEntry = z.infer<typeof ledgerEntry>;
export type LedgerPage = z.infer<typeof ledgerAnswer>;
export type HeldPage = z.infer<typeof heldAnswer>;
export type AlertPage = z.infer<typeof alertsAnswer>;
