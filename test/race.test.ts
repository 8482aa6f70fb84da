/**
 * A thousand reservations at once from three processes: never above any cap, never less than there
 * is room for, and no deadlock. A trigger watches every write, so that "never" means at no time.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { changeByInstallation } from "../src/audit/audit-event.ts";
import { createBudget } from "../src/budgets/budget.ts";
import type { DemoCompany } from "../src/cli/demo-company.ts";
import { capBreaches, watchCaps } from "./chaos/cap-watch.ts";
import { foundCompany } from "./node.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";
import { type RaceAnswer, type RaceOrder, race } from "./race-writer.ts";
import { openTestWriter, type TestWriter } from "./test-writer.ts";

const CALLS = 1_000;
const PROCESSES = 3;
const PRICE = 1_000n;
const ENDLESS = 1_000_000_000n;

type Racer = { run(order: RaceOrder): Promise<RaceAnswer>; stop(): Promise<void> };

let database: TestDatabase;
let company: DemoCompany;
let racers: Racer[];
let single: TestWriter;

beforeAll(async () => {
  database = await testDatabase();
  company = await foundCompany(database.sql, "http://127.0.0.1:9/v1");
  await watchCaps(database.sql);
  racers = Array.from({ length: PROCESSES }, () => startRacer(database.url));
  single = await openTestWriter(database.url);
});

afterAll(async () => {
  await Promise.all(racers.map((racer) => racer.stop()));
  await single.close();
  await database.drop();
});

describe.each([1, 2, 3, 4])("with %d caps on each call", (levels) => {
  test.each([0, 1, 7, 500, 999, 1_000])(
    "room for %d of 1,000 grants exactly those",
    async (room) => {
      // Room for that many and almost one more, on the level whose turn it is.
      const tight = BigInt(room) * PRICE + PRICE - 1n;
      const limits = Array.from({ length: levels }, (_, level) =>
        level === room % levels ? tight : ENDLESS,
      );
      const budgetIds = await addBudgets(limits);
      const answers = await raceAll(budgetIds, Array<bigint>(CALLS).fill(PRICE));
      expect(answers.granted.length).toBe(room);
      expect(answers.refused.length).toBe(CALLS - room);
      for (const window of await windowsOf(budgetIds)) {
        expect(window.held).toBe(BigInt(room) * PRICE);
      }
    },
  );

  test("mixed sizes fill the tightest cap until nothing that was refused would fit", async () => {
    const amounts = randomAmounts(CALLS);
    const limits = Array.from({ length: levels }, (_, level) => 30_000n + BigInt(level) * 50n);
    const budgetIds = await addBudgets(limits);
    const { granted, refused } = await raceAll(budgetIds, amounts);
    const sum = sumOf(granted);
    expect(sum).toBeLessThanOrEqual(30_000n);
    expect(refused.filter((amount) => amount <= 30_000n - sum)).toEqual([]);
    for (const window of await windowsOf(budgetIds)) expect(window.held).toBe(sum);
  });

  test("room that settlements free is given out again, and the books agree", async () => {
    const budgetIds = await addBudgets(Array<bigint>(levels).fill(30_000n));
    const { spent } = await raceAll(budgetIds, randomAmounts(CALLS), true);
    expect(spent).toBeGreaterThan(0n);
    for (const window of await windowsOf(budgetIds)) {
      expect(window).toEqual({ held: 0n, settled: spent });
    }
  });

  test("one writer grants exactly what arrival order allows", async () => {
    const amounts = randomAmounts(CALLS);
    const limits = Array.from({ length: levels }, (_, level) => 30_000n + BigInt(level) * 50n);
    const order = await orderOf(await addBudgets(limits), amounts, false);
    let left = 30_000n;
    const wanted: bigint[] = [];
    for (const amount of amounts) {
      if (amount <= left) {
        wanted.push(amount);
        left -= amount;
      }
    }
    const { granted } = await race(single.writer, order);
    expect(granted.map(BigInt)).toEqual(wanted);
  });
});

test("20 × 75 against 500 grants exactly 6, from three processes", async () => {
  const budgetIds = await addBudgets([500n, ENDLESS]);
  const { granted } = await raceAll(budgetIds, Array<bigint>(20).fill(75n));
  expect(granted.length).toBe(6);
});

test("no cap was passed at any moment, and nobody waited for each other in a circle", async () => {
  expect(await capBreaches(database.sql)).toEqual([]);
  // The server counts a deadlock when the session that met it ends.
  await Promise.all(racers.map((racer) => racer.stop()));
  racers = [];
  const [row] = await database.sql`
    select deadlocks from pg_stat_database where datname = current_database()
  `;
  expect(row?.["deadlocks"]).toBe(0n);
});

async function addBudgets(limits: readonly bigint[]): Promise<string[]> {
  const selectsAll = { provider: null, model: null, tool: null, environment: null };
  const ids: string[] = [];
  for (const amountNanoUsd of limits) {
    const budget = {
      ...selectsAll,
      organizationId: company.organizationId,
      name: "Race",
      scope: { kind: "organization", id: company.organizationId } as const,
      amountNanoUsd,
      period: "month" as const,
      timeZone: "UTC",
      startsAt: null,
      endsAt: null,
    };
    ids.push(
      await database.sql.begin((transaction) =>
        createBudget(transaction, budget, changeByInstallation(new Date())),
      ),
    );
  }
  return ids;
}

async function orderOf(
  budgetIds: string[],
  amounts: readonly bigint[],
  settles: boolean,
): Promise<RaceOrder> {
  const [organization] = await database.sql<[{ epoch: bigint }]>`
    select governance_epoch as epoch from organizations
  `;
  return {
    organizationId: company.organizationId,
    apiKeyId: company.apiKeyId,
    teamId: company.teamId,
    governanceEpoch: organization.epoch.toString(),
    budgetIds,
    amounts: amounts.map(String),
    settles,
  };
}

/** The same race in all processes, each with its share of the calls. */
async function raceAll(budgetIds: string[], amounts: readonly bigint[], settles = false) {
  const order = await orderOf(budgetIds, amounts, settles);
  const answers = await Promise.all(
    racers.map((racer, index) =>
      racer.run({
        ...order,
        // Locks are taken in the order of ids, whatever order a process names them in.
        budgetIds: index === 1 ? [...budgetIds].reverse() : budgetIds,
        amounts: order.amounts.filter((_, at) => at % PROCESSES === index),
      }),
    ),
  );
  return {
    granted: answers.flatMap(({ granted }) => granted.map(BigInt)),
    refused: answers.flatMap(({ refused }) => refused.map(BigInt)),
    spent: sumOf(answers.map(({ spent }) => BigInt(spent))),
  };
}

async function windowsOf(budgetIds: string[]) {
  const rows = await database.sql<{ held: bigint; settled: bigint }[]>`
    select held_nano_usd as held, settled_nano_usd as settled
    from budget_windows
    where budget_id = any(${budgetIds})
  `;
  expect(rows.length).toBe(budgetIds.length);
  return [...rows];
}

function startRacer(databaseUrl: string): Racer {
  const program = join(import.meta.dir, "race-writer.ts");
  const child = Bun.spawn([process.execPath, program, databaseUrl], {
    stdin: "pipe",
    stdout: "pipe",
    stderr: "inherit",
  });
  const lines = createInterface({ input: Readable.from(child.stdout) })[Symbol.asyncIterator]();
  return {
    run: async (order) => {
      await child.stdin.write(`${JSON.stringify(order)}\n`);
      await child.stdin.flush();
      const line = await lines.next();
      if (line.done === true) throw new Error("a racing process has ended");
      return JSON.parse(line.value) as RaceAnswer;
    },
    stop: async () => {
      await child.stdin.end();
      await child.exited;
    },
  };
}

function randomAmounts(count: number): bigint[] {
  return [...crypto.getRandomValues(new Uint8Array(count))].map((byte) => BigInt(byte) + 1n);
}

function sumOf(amounts: readonly bigint[]): bigint {
  return amounts.reduce((sum, one) => sum + one, 0n);
}
