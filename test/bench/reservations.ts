/**
 * (a) Reservations a second: the same function in the database, called with one reservation a
 * transaction over many connections, and called by the writer with everything that waits.
 */
import { changeByInstallation } from "../../src/audit/audit-event.ts";
import { createBudget } from "../../src/budgets/budget.ts";
import type { BudgetWindow } from "../../src/budgets/window.ts";
import type { DemoCompany } from "../../src/cli/demo-company.ts";
import { connect } from "../../src/database/client.ts";
import { parseUsd } from "../../src/money.ts";
import { toBatchJson } from "../../src/reservations/batch-json.ts";
import { OpenedWindows } from "../../src/reservations/opened-windows.ts";
import { batchWrite } from "../../src/reservations/queries.ts";
import { makeReservations, type ReservationMaker } from "../sample-reservations.ts";
import { openTestWriter } from "../test-writer.ts";
import { type Latency, latencyOf, processorSeconds } from "./measure.ts";
import type { BenchDatabase } from "./server.ts";

export type ReservationRow = Latency & {
  way: "one a transaction" | "writer";
  waiting: number;
  budgets: number;
  perSecond: number;
  /** Of the client and of PostgreSQL, a reservation. */
  clientCpuMicroseconds: number;
  postgresCpuMicroseconds: number;
};

type Place = { database: BenchDatabase; postmaster: number; durationMs: number };

const WARMUP_MS = 500;
const BUDGETS_MANY = 100;
const CAP_USD = "1000000000";

/** Rows in the order of the table. */
export async function measureReservations(
  place: Place,
  company: DemoCompany,
  log: (line: string) => void,
): Promise<ReservationRow[]> {
  const windows = await openBudgets(place.database, company);
  const make = await makeReservations(place.database.sql, company);
  const one = windows.slice(0, 1);
  const rows: ReservationRow[] = [];
  const add = async (measured: Promise<ReservationRow>): Promise<void> => {
    const row = await measured;
    log(`${row.way}, ${row.waiting} at a time, ${row.budgets} budgets: ${row.perSecond | 0}/s`);
    rows.push(row);
  };
  for (const waiting of [16, 64]) {
    await add(measureTransactions(place, spread(make, one), waiting, one.length));
  }
  for (const waiting of [1, 16, 64, 256]) {
    await add(measureWriter(place, spread(make, one), waiting, one.length));
  }
  await add(measureTransactions(place, spread(make, windows), 64, windows.length));
  await add(measureWriter(place, spread(make, windows), 64, windows.length));
  await add(measureWriter(place, spread(make, windows), 256, windows.length));
  return rows;
}

/** Budgets of the organization; nobody's policy names them, so each is used as a test says. */
async function openBudgets(
  { sql }: BenchDatabase,
  { organizationId }: DemoCompany,
): Promise<BudgetWindow[]> {
  const selectsAll = { provider: null, model: null, tool: null, environment: null };
  const ids: string[] = [];
  await sql.begin(async (transaction) => {
    for (let index = 0; index < BUDGETS_MANY; index++) {
      const budget = {
        ...selectsAll,
        organizationId,
        name: `Bench ${index}`,
        scope: { kind: "organization", id: organizationId } as const,
        amountNanoUsd: parseUsd(CAP_USD),
        period: "lifetime" as const,
        timeZone: "UTC",
        startsAt: null,
        endsAt: null,
      };
      ids.push(await createBudget(transaction, budget, changeByInstallation(new Date())));
    }
  });
  return ids.map((budgetId) => ({
    id: `win_${budgetId.slice(4)}_bench`,
    budgetId,
    start: new Date("2026-01-01T00:00:00Z"),
    end: null,
  }));
}

/** Each reservation in one window, in turn. */
function spread(make: ReservationMaker, windows: readonly BudgetWindow[]): ReservationMaker {
  let next = 0;
  return () => make({ windows: windows.slice(next++ % windows.length).slice(0, 1) });
}

async function measureTransactions(
  place: Place,
  make: ReservationMaker,
  waiting: number,
  budgets: number,
): Promise<ReservationRow> {
  const pool = connect(place.database.url, {
    connectionsMax: waiting,
    applicationName: "bench transactions",
  });
  const once = async (): Promise<void> => {
    const rows = await batchWrite(pool, toBatchJson([], [make()], []), new Date());
    requireGranted(rows.find(({ kind }) => kind === "refused")?.outcome ?? "granted");
  };
  try {
    const opened = new OpenedWindows();
    await opened.open(pool, toBatchJson([], Array.from({ length: budgets }, make), []).asked);
    return {
      way: "one a transaction",
      waiting,
      budgets,
      ...(await closedLoop(place, waiting, once)),
    };
  } finally {
    await pool.end({ timeout: 5 });
  }
}

async function measureWriter(
  place: Place,
  make: ReservationMaker,
  waiting: number,
  budgets: number,
): Promise<ReservationRow> {
  const opened = await openTestWriter(place.database.url);
  const once = async (): Promise<void> => {
    requireGranted((await opened.writer.reserve(make())).status);
  };
  try {
    return { way: "writer", waiting, budgets, ...(await closedLoop(place, waiting, once)) };
  } finally {
    await opened.writer.drain();
    await opened.close();
  }
}

function requireGranted(outcome: string): void {
  if (outcome !== "granted") {
    throw new Error(`a reservation of the bench was not granted: ${outcome}`);
  }
}

async function closedLoop(place: Place, waiting: number, once: () => Promise<void>) {
  await runFor(WARMUP_MS, waiting, once);
  const postgresBefore = await processorSeconds([place.postmaster]);
  const clientBefore = process.cpuUsage();
  const startedMs = performance.now();
  const latencies = await runFor(place.durationMs, waiting, once);
  const seconds = (performance.now() - startedMs) / 1000;
  const client = process.cpuUsage(clientBefore);
  const postgres = (await processorSeconds([place.postmaster])) - postgresBefore;
  return {
    perSecond: latencies.length / seconds,
    ...latencyOf(latencies),
    clientCpuMicroseconds: (client.user + client.system) / latencies.length,
    postgresCpuMicroseconds: (postgres * 1_000_000) / latencies.length,
  };
}

/** `waiting` callers, each asking again when it was answered. */
async function runFor(
  durationMs: number,
  waiting: number,
  once: () => Promise<void>,
): Promise<number[]> {
  const latencies: number[] = [];
  const endMs = performance.now() + durationMs;
  const caller = async (): Promise<void> => {
    for (let askedMs = performance.now(); askedMs < endMs; ) {
      await once();
      const answeredMs = performance.now();
      latencies.push(answeredMs - askedMs);
      askedMs = answeredMs;
    }
  };
  await Promise.all(Array.from({ length: waiting }, caller));
  return latencies;
}
