/** Compares the database with the book of the model, row by row and sum by sum. */
import type { Book } from "./lifecycle-book.ts";
import type { World } from "./lifecycle-world.ts";

type WindowRow = { id: string; limit: bigint; held: bigint; settled: bigint };
type ReservationRow = {
  id: string;
  status: string;
  cost: bigint | null;
  isCorrected: boolean;
  deadline: Date;
  entries: string[];
  /** Settlements and recoveries, less what was reversed. */
  booked: bigint;
};
type UsageRow = { calls: bigint; cost: bigint; least: bigint };

/** Throws with the first difference. */
export async function checkBooks(book: Book, world: World): Promise<void> {
  const { sql } = world.ground;
  const ids = book.reservations.map(({ id }) => id);
  const [rates, windows, reservations, usage] = await Promise.all([
    sql<{ id: string; held: bigint; used: bigint }[]>`
      select id, held_units as held, used_units as used
      from rate_windows
      where policy_id = any(${world.rateLimits.map(({ policyId }) => policyId)})
    `,
    sql<WindowRow[]>`
      select id, limit_nano_usd as limit, held_nano_usd as held, settled_nano_usd as settled
      from budget_windows
      where budget_id = any(${world.budgets.map(({ id }) => id)})
    `,
    sql<ReservationRow[]>`
      select
        r.id, r.status, r.cost_nano_usd as cost, r.deadline_at as deadline,
        r.corrected_at is not null as "isCorrected",
        coalesce(array_agg(e.kind) filter (where e.id is not null), '{}') as entries,
        coalesce(sum(case when e.kind = 'reversal' then -1 else 1 end * e.amount_nano_usd), 0)
          ::bigint as booked
      from reservations r
      left join ledger_entries e
        on e.organization_id = r.organization_id and e.reservation_id = r.id
      where r.api_key_id = any(${book.keys.map(({ id }) => id)})
      group by r.organization_id, r.id
    `,
    sql<[UsageRow]>`
      select
        coalesce(sum(calls), 0)::bigint as calls,
        coalesce(sum(cost_nano_usd), 0)::bigint as cost,
        coalesce(min(least(calls, cost_nano_usd, input_tokens, output_tokens)), 0) as least
      from usage_daily
      where api_key_id = any(${book.keys.map(({ id }) => id)})
    `,
  ]);
  same("windows", windows.length, book.limits.size);
  for (const { id, limit, held, settled } of windows) {
    same(`limit of ${id}`, limit, book.limits.get(id));
    same(`held in ${id}`, held, book.heldIn(id));
    same(`settled in ${id}`, settled, book.settledIn(id));
  }
  same("rate windows", rates.length, book.rateLimits.size);
  for (const { id, held, used } of rates) {
    same(`held in ${id}`, held, book.rateHeldIn(id));
    same(`used in ${id}`, used, book.rateUsedIn(id));
  }
  same("reservations", reservations.map(({ id }) => id).sort(), [...ids].sort());
  for (const row of reservations) checkReservation(row, book);
  const costs = book.reservations.map(({ costNanoUsd }) => costNanoUsd ?? 0n);
  const events = book.reservations.map(({ liveEvents }) => liveEvents);
  same("cost in usage_daily", usage[0].cost, sum(costs));
  same("calls in usage_daily", usage[0].calls, BigInt(events.reduce((all, one) => all + one, 0)));
  same("least number in usage_daily", usage[0].least >= 0n, true);
}

function checkReservation(row: ReservationRow, book: Book): void {
  const wanted = book.reservations.find(({ id }) => id === row.id);
  same(`status of ${row.id}`, row.status, wanted?.status);
  same(`cost of ${row.id}`, row.cost, wanted?.costNanoUsd);
  same(`correction of ${row.id}`, row.isCorrected, wanted?.isCorrected);
  same(`entries of ${row.id}`, row.entries.sort(), [...(wanted?.entries ?? [])].sort());
  same(`ledger of ${row.id}`, row.booked, wanted?.costNanoUsd ?? 0n);
  if (row.status === "held") {
    same(`deadline of ${row.id}`, row.deadline.getTime(), wanted?.deadlineAtMs);
  }
}

function sum(amounts: readonly bigint[]): bigint {
  return amounts.reduce((all, one) => all + one, 0n);
}

function same(what: string, found: unknown, expected: unknown): void {
  const [left, right] = [found, expected].map((value) => String(value));
  if (left !== right) throw new Error(`${what}: found ${left}, expected ${right}`);
}
