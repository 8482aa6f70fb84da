/**
 * Holds three books against each other: the provider's, the callers' and Spendra's. Each sentence
 * it answers is money that was lost, doubled or made up.
 */
import type { Sql } from "../../src/database/client.ts";
import { verifyLedger } from "../../src/ledger/verify.ts";
import { formatUsd } from "../../src/money.ts";
import { type Call, TOKENS_MAX_BASE } from "./caller.ts";
import { capBreaches } from "./cap-watch.ts";
import { type Bill, priceOf } from "./counting-provider.ts";

/** A reservation with everything that is booked on it. */
type Booked = {
  id: string;
  callNo: number;
  status: string;
  cost: bigint | null;
  isCorrected: boolean;
  /** Settlements and recoveries, less what was reversed. */
  net: bigint;
  settlements: number;
  recoveries: number;
  reversals: number;
  /** Where the numbers of the spend event in force come from. */
  source: string | null;
  requests: number;
};

export type Verdict = { violations: string[]; counts: Record<string, number> };

const VIOLATIONS_MAX = 50;

export async function judge(
  sql: Sql,
  calls: readonly Call[],
  bills: ReadonlyMap<number, Bill>,
): Promise<Verdict> {
  const violations: string[] = [];
  const counts: Record<string, number> = {};
  const count = (name: string) => {
    counts[name] = (counts[name] ?? 0) + 1;
  };
  const booked = await readBooked(sql);
  const byCall = new Map<number, Booked>();
  for (const row of booked) {
    if (byCall.has(row.callNo)) violations.push(`call ${row.callNo} has two reservations`);
    byCall.set(row.callNo, row);
    count(`reservation ${row.status}${row.isCorrected ? " and corrected" : ""}`);
  }
  for (const call of calls) {
    count(nameOf(call));
    const found = checkCall(call, byCall.get(call.callNo), bills.get(call.callNo));
    if (found.violation !== null) violations.push(`call ${call.callNo}: ${found.violation}`);
    if (found.note !== null) count(found.note);
  }
  for (const { windowId, excessNanoUsd } of await capBreaches(sql)) {
    violations.push(`${windowId} held $${formatUsd(excessNanoUsd)} more than its cap`);
  }
  const books = await verifyLedger(sql, { organizationId: null, onProgress: () => {} });
  violations.push(...books.differences.listed.map(({ code, detail }) => `${code}: ${detail}`));
  const [held] = await sql<[{ count: number; nanoUsd: bigint }]>`
    select
      (select count(*)::int from reservations where status = 'held') as count,
      (select coalesce(sum(held_nano_usd), 0)::bigint from budget_windows) as "nanoUsd"
  `;
  if (held.count > 0 || held.nanoUsd !== 0n) {
    violations.push(`${held.count} holds are left, and $${formatUsd(held.nanoUsd)} in windows`);
  }
  return { violations: violations.slice(0, VIOLATIONS_MAX), counts };
}

type Found = { violation: string | null; note: string | null };

/** What one call must have left behind. */
function checkCall(call: Call, row: Booked | undefined, bill: Bill | undefined): Found {
  const bad = (violation: string): Found => ({
    violation: `${violation}; for its caller ${nameOf(call)}; ${show(row)}; ${show(bill)}`,
    note: null,
  });
  const good = (note: string | null = null): Found => ({ violation: null, note });
  if (bill !== undefined && bill.times > 1) return bad(`was sent ${bill.times} times`);
  if (bill !== undefined && bill.outcome !== "refused") return checkServed(call, row, bill, bad);
  if (call.end.kind === "delivered") return bad("was delivered without having been served");
  if (row === undefined || row.net === 0n) return good();
  const isRecovered = row.status === "expired" && row.source === "recovered";
  if (!isRecovered) return bad("was never served and is booked");
  const wasRefused = call.end.kind === "answered";
  return good(wasRefused ? "never served, refused, yet recovered" : "never served, recovered");
}

function checkServed(
  call: Call,
  row: Booked | undefined,
  bill: Bill,
  bad: (violation: string) => Found,
): Found {
  if (row === undefined) return bad("was served without a reservation");
  const price = priceOf(bill);
  const live = row.settlements + row.recoveries - row.reversals;
  if (live !== 1 || row.net === 0n) return bad("is not booked exactly once");
  if (row.net !== row.cost) return bad("has another cost in the ledger than in its reservation");
  if (row.source === "provider" && row.net !== price) return bad("is booked at a wrong price");
  if (row.source === null) return bad("has no spend event in force");
  if (call.end.kind === "delivered") {
    if (row.settlements !== 1) return bad("was delivered and not settled exactly once");
    if (row.source !== "provider") return bad(`was delivered and is booked as ${row.source}`);
    if (row.requests !== 1) return bad("was delivered and is not on record once");
    if (call.end.reservationId !== row.id) return bad("names another reservation");
    if (call.end.costUsd !== null && call.end.costUsd !== formatUsd(price)) {
      return bad(`was delivered with a cost of $${call.end.costUsd}`);
    }
  }
  return { violation: null, note: `served, booked as ${row.source}` };
}

async function readBooked(sql: Sql): Promise<readonly Booked[]> {
  return await sql<Booked[]>`
    select
      r.id, r.completion_tokens_max::int - ${TOKENS_MAX_BASE}::int as "callNo", r.status,
      r.cost_nano_usd as cost, r.corrected_at is not null as "isCorrected",
      coalesce(e.net, 0)::bigint as net, coalesce(e.settlements, 0)::int as settlements,
      coalesce(e.recoveries, 0)::int as recoveries, coalesce(e.reversals, 0)::int as reversals,
      (
        select string_agg(s.usage_source, '+')
        from spend_events s
        where s.organization_id = r.organization_id and s.reservation_id = r.id
          and not (s.usage_source = 'recovered' and r.corrected_at is not null)
      ) as source,
      (
        select count(*)::int from gateway_requests g
        where g.organization_id = r.organization_id and g.id = r.request_id
      ) as requests
    from reservations r
    left join lateral (
      select
        sum(case when kind = 'reversal' then -amount_nano_usd else amount_nano_usd end) as net,
        count(*) filter (where kind = 'settlement') as settlements,
        count(*) filter (where kind = 'recovery') as recoveries,
        count(*) filter (where kind = 'reversal') as reversals
      from ledger_entries l
      where l.organization_id = r.organization_id and l.reservation_id = r.id
    ) e on true
  `;
}

function nameOf({ end }: Call): string {
  return end.kind === "answered" ? `${end.status} ${end.code}` : end.kind;
}

function show(value: unknown): string {
  return JSON.stringify(value ?? "nothing", (_, item: unknown) =>
    typeof item === "bigint" ? item.toString() : item,
  );
}
