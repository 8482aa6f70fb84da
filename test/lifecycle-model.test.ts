/**
 * Whatever happens to reservations, in whatever order, the books are what paper says they are. The
 * commands are in lifecycle-commands.ts, the paper in lifecycle-book.ts.
 *
 * SPENDRA_TEST_MODEL_RUNS sets how many stories are told, SPENDRA_TEST_MODEL_SEED which.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import fc from "fast-check";
import { openPartitions } from "../src/database/migrator.ts";
import { verifyLedger } from "../src/ledger/verify.ts";
import { Book } from "./lifecycle-book.ts";
import { allCommands } from "./lifecycle-commands.ts";
import {
  addKey,
  type BudgetSpec,
  type Ground,
  type RateSpec,
  World,
  ZONES,
} from "./lifecycle-world.ts";
import { foundCompany } from "./node.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";
import { openTcpProxy } from "./tcp-proxy.ts";

const RUNS = Number(process.env["SPENDRA_TEST_MODEL_RUNS"] ?? 40);
const SEED = Number(process.env["SPENDRA_TEST_MODEL_SEED"] ?? newSeed());
const COMMANDS_MAX = 30;
const TIME_LIMIT_MS = Math.max(60_000, RUNS * 2_000);
const DAY_MS = 24 * 60 * 60_000;

let database: TestDatabase;
let ground: Ground;

beforeAll(async () => {
  database = await testDatabase();
  const company = await foundCompany(database.sql, "http://127.0.0.1:9/v1");
  ground = { sql: database.sql, company, proxy: await openTcpProxy(database.url) };
  // The stories play near the next changes of the clock, and a month is jumped over now and then.
  const now = Date.now();
  for (let month = 0; month < 36; month++) {
    await openPartitions(database.sql, new Date(now + month * 30 * DAY_MS));
  }
});

afterAll(async () => {
  await ground.proxy.stop();
  await database.drop();
});

test(
  `the books are right after each step of ${RUNS} stories`,
  async () => {
    const limits = fc.bigInt(0n, 3_000n);
    const periods = fc.constantFrom<BudgetSpec["period"][]>("hour", "day", "month", "lifetime");
    const budget = fc.record({
      period: periods,
      timeZone: fc.constantFrom(...ZONES),
      limitNanoUsd: limits,
    });
    const rates = fc.tuple(
      fc.bigInt(0n, 20n).map((limit) => rateOf("requests", limit, "hour")),
      fc.bigInt(0n, 400n).map((limit) => rateOf("tokens", limit, "day")),
      fc.bigInt(0n, 6n).map((limit) => rateOf("concurrent_calls", limit, null)),
    );
    const story = fc.asyncProperty(
      fc.record({ budgets: fc.array(budget, { minLength: 4, maxLength: 4 }), rates }),
      fc.constantFrom(...clockChanges()),
      fc.integer({ min: -90, max: 5 }),
      fc.commands(allCommands(), { maxCommands: COMMANDS_MAX, size: "max" }),
      async (specs, changeMs, offsetMinutes, commands) => {
        const world = await World.open(ground, specs, changeMs + offsetMinutes * 60_000);
        const keys = [await addKey(ground), await addKey(ground)];
        const limitOf = new Map(
          world.budgets.map(({ id }, index) => [id, specs.budgets[index]?.limitNanoUsd ?? 0n]),
        );
        const facts = { isActive: true, isRevoked: false };
        const book = new Book(
          keys.map((id) => ({ id, ...facts })),
          limitOf,
        );
        try {
          await fc.asyncModelRun(() => ({ model: book, real: world }), commands);
        } finally {
          await world.close();
        }
      },
    );
    const found = await fc.check(story, {
      seed: SEED,
      numRuns: RUNS,
      interruptAfterTimeLimit: TIME_LIMIT_MS,
    });
    expect(found.failed ? failureOf(found) : null).toBeNull();
    const { differences } = await verifyLedger(database.sql, {
      organizationId: null,
      onProgress: () => {},
    });
    expect(differences.listed).toEqual([]);
  },
  TIME_LIMIT_MS + 30_000,
);

function rateOf(unit: RateSpec["unit"], limit: bigint, period: RateSpec["period"]): RateSpec {
  return { unit, limit, period };
}

function failureOf<Story extends unknown[]>(found: fc.RunDetails<Story>): string {
  const story = found.counterexample?.map((part) => fc.stringify(part)).join("\n  ") ?? "";
  return [
    `${String(found.errorInstance)}\n  ${story}`,
    "Replay it with:",
    `  SPENDRA_TEST_MODEL_SEED=${found.seed} SPENDRA_TEST_MODEL_RUNS=${RUNS} ` +
      "npm test -- test/lifecycle-model.test.ts",
  ].join("\n");
}

/** The next two changes of the clock in each zone that has them, else a month's beginning. */
function clockChanges(): number[] {
  // Far enough ahead that even a story that goes back stays in the future of the server's clock.
  const from = Temporal.Now.instant().add({ hours: 60 * 24 });
  return ZONES.flatMap((zone) => {
    const local = from.toZonedDateTimeISO(zone);
    const first = local.getTimeZoneTransition("next") ?? local.with({ day: 1 }).startOfDay();
    const second = first.getTimeZoneTransition("next") ?? first.add({ months: 1 });
    return [first.epochMilliseconds, second.epochMilliseconds];
  });
}

function newSeed(): number {
  return (crypto.getRandomValues(new Uint32Array(1))[0] ?? 0) >>> 1;
}
