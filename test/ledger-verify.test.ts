/** Seals miss nothing and double nothing, and the proofs find each kind of tampering by name. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { systemClock } from "../src/clock.ts";
import { connect, type Transaction } from "../src/database/client.ts";
import { analyzeUncounted } from "../src/ledger/analyze-tables.ts";
import { ledgerDriftNewest } from "../src/ledger/queries.ts";
import { sealLedger } from "../src/ledger/seal.ts";
import { verifyLedger } from "../src/ledger/verify.ts";
import type { LogFields } from "../src/log.ts";
import { proveLedger } from "../src/scheduler/jobs/prove-ledger.ts";
import { type Books, insertAdjustment, keepBooks, openBooks, tamper } from "./ledger-books.ts";
import { runSpendra } from "./node.ts";
import { settled } from "./sample-reservations.ts";
import { openTestWriter } from "./test-writer.ts";

const SPENT_NANO_USD = 400n + 401n + 402n + 1_007n + 1_000n + 500n;
const UNKNOWN_ORGANIZATION = "org_00000000000000000000000000";

async function verify({ database }: Books) {
  return await verifyLedger(database.sql, { organizationId: null, onProgress: () => {} });
}

async function codes(books: Books): Promise<string[]> {
  const { differences } = await verify(books);
  expect(differences.count).toBe(BigInt(differences.listed.length));
  return differences.listed.map(({ proof, code }) => `${proof}: ${code}`);
}

describe.each([18, 15] as const)("books kept on PostgreSQL %d", (version) => {
  let books: Books;

  beforeAll(async () => {
    books = await openBooks(version);
    await keepBooks(books);
  });
  afterAll(() => books.close());

  test("are proved, and counted", async () => {
    const { differences, totals, heads } = await verify(books);
    expect(differences.listed).toEqual([]);
    expect(totals).toEqual({
      organizationCount: 1n,
      entryCount: 6n,
      spentNanoUsd: SPENT_NANO_USD,
      sealCount: 2n,
      unsealedEntryCount: 1n,
      windowCount: 2n,
      usageCount: 3n,
    });
    expect(heads).toMatchObject([{ sealNo: 2n }]);
    // What the planner knows nothing of was counted first.
    expect(await analyzeUncounted(books.database.sql)).toEqual([]);
    expect(heads[0]?.hash).toMatch(/^[0-9a-f]{64}$/);
  });

  test("have seals that other tools compute alike", async () => {
    const seals = await books.database.sql<Record<string, string>[]>`
      select *, encode(hash, 'hex') as hash_hex, encode(previous_hash, 'hex') as previous_hex
      from ledger_seals
      order by seal_no
    `;
    let previous = "00".repeat(32);
    for (const seal of seals) {
      expect(seal["previous_hex"]).toBe(previous);
      previous = await recompute(seal, previous);
      expect(seal["hash_hex"]).toBe(previous);
    }
    expect(seals).toHaveLength(2);
  });

  /** As docs/reference/ledger.md describes it, from plain columns. */
  async function recompute(seal: Record<string, unknown>, previous: string): Promise<string> {
    const entries = await books.database.sql<Record<string, unknown>[]>`
      select *, (extract(epoch from occurred_at) * 1000000)::bigint as occurred_us
      from ledger_entries
      where entry_no >= ${Number(seal["entry_no_from"])}
        and entry_no <= ${Number(seal["entry_no_through"])}
      order by entry_no
    `;
    const lines = entries.map((entry) => [
      ...[entry["entry_no"], entry["organization_id"], entry["id"]],
      instant(entry["occurred_us"]),
      ...[entry["kind"], entry["debit_account_id"], entry["credit_account_id"]],
      ...[entry["amount_nano_usd"], entry["request_id"], entry["reservation_id"]],
      ...[entry["spend_event_id"], entry["api_key_id"], entry["actor_id"]],
      entry["reverses_entry_id"],
    ]);
    const sealedAt = BigInt((seal["sealed_at"] as Date).getTime()) * 1_000n;
    const head = [
      ...[seal["organization_id"], seal["seal_no"], seal["entry_no_from"]],
      ...[seal["entry_no_through"], seal["entry_count"], seal["amount_nano_usd"]],
      ...[previous, instant(sealedAt)],
    ];
    const text = [head, ...lines].map((line) => `[${line.map(jsonText).join(", ")}]\n`).join("");
    return createHash("sha256").update(text).digest("hex");
  }

  test("stay as they are: a seal can be neither changed nor deleted", async () => {
    const { sql } = books.database;
    for (const change of [
      () => sql`update ledger_seals set sealed_at = now()`,
      () => sql`delete from ledger_seals`,
      () => sql`truncate ledger_seals`,
    ]) {
      const refusal: unknown = await change().then(
        () => null,
        (error: unknown) => error,
      );
      expect(refusal).toMatchObject({ constraint_name: "ledger_seals_append_only" });
    }
  });
});

function jsonText(value: unknown): string {
  return typeof value === "bigint" ? value.toString() : JSON.stringify(value);
}

function instant(microseconds: unknown): string {
  const whole = BigInt(microseconds as bigint);
  const fraction = (whole % 1_000_000n).toString().padStart(6, "0");
  return new Date(Number(whole / 1_000n)).toISOString().replace(/\.\d+Z$/, `.${fraction}Z`);
}

type Tampering = [name: string, (sql: Transaction) => Promise<unknown>, found: string[]];

const bothWindows = ["windows: window_settled_differs", "windows: window_settled_differs"];

const tamperings: Tampering[] = [
  [
    "a changed amount",
    (sql) => sql`update ledger_entries set amount_nano_usd = 399 where entry_no = 1`,
    ["seals: sealed_entry_or_seal_changed", ...bothWindows, "bookings: ledger_entry_differs"],
  ],
  [
    "an entry that names another actor",
    (sql) => sql`update ledger_entries set actor_id = 'agt_other' where entry_no = 2`,
    ["seals: sealed_entry_or_seal_changed", "bookings: ledger_entry_links_elsewhere"],
  ],
  [
    "a deleted entry",
    (sql) => sql`delete from ledger_entries where entry_no = 3`,
    ["seals: sealed_entry_missing", ...bothWindows, "bookings: ledger_entry_missing"],
  ],
  [
    "a deleted entry that was not sealed yet",
    (sql) => sql`delete from ledger_entries where entry_no = 6`,
    [...bothWindows, "bookings: ledger_entry_missing"],
  ],
  [
    "an entry slipped into a sealed range",
    async (sql) => {
      const [organization] = await sql<[{ id: string }]>`select id from organizations`;
      await insertAdjustment(sql, organization.id, 2n);
    },
    ["seals: sealed_entry_inserted"],
  ],
  [
    "an entry booked twice",
    (sql) => sql`
      insert into ledger_entries
      select organization_id, 'ent_twin', occurred_at, kind, debit_account_id, credit_account_id,
        amount_nano_usd, request_id, reservation_id, spend_event_id, api_key_id, actor_id
      from ledger_entries
      where entry_no = 6
    `,
    [...bothWindows, "bookings: ledger_entry_repeated"],
  ],
  [
    "a seal with another sum",
    (sql) => sql`update ledger_seals set amount_nano_usd = 1 where seal_no = 2`,
    ["seals: sealed_entry_or_seal_changed"],
  ],
  [
    "a seal with another hash",
    (sql) => sql`update ledger_seals set hash = sha256('') where seal_no = 1`,
    ["seals: sealed_entry_or_seal_changed", "seals: seal_not_linked"],
  ],
  [
    "a deleted seal",
    (sql) => sql`delete from ledger_seals where seal_no = 1`,
    ["seals: seal_missing"],
  ],
  [
    "a window settled off by one",
    (sql) => sql`
      update budget_windows set settled_nano_usd = settled_nano_usd + 1
      where id = (select min(id) from budget_windows)
    `,
    ["windows: window_settled_differs"],
  ],
  [
    "a window held off by one",
    (sql) => sql`
      update budget_windows set held_nano_usd = held_nano_usd - 1
      where id = (select max(id) from budget_windows)
    `,
    ["windows: window_held_differs"],
  ],
  [
    "a deleted window",
    (sql) => sql`
      delete from budget_windows where id = (select max(id) from budget_windows)
    `,
    ["windows: window_missing"],
  ],
  [
    "a missing spend event",
    (sql) => sql`delete from spend_events where cost_nano_usd = 402`,
    ["usage: usage_daily_differs", "bookings: spend_event_missing"],
  ],
  [
    "a spend event of a released reservation",
    (sql) => sql`
      update spend_events
      set reservation_id = (select id from reservations where status = 'released')
      where cost_nano_usd = 0
    `,
    ["bookings: spend_event_missing", "bookings: spend_event_unexpected"],
  ],
  [
    "daily usage off by one call",
    (sql) => sql`update usage_daily set calls = calls + 1 where usage_source = 'recovered'`,
    ["usage: usage_daily_differs"],
  ],
  [
    "a reservation that is gone",
    (sql) => sql`delete from reservations where cost_nano_usd = 500`,
    [
      ...bothWindows,
      // Its project is not known any more: its day is missing under one key, new under another.
      "usage: usage_daily_differs",
      "usage: usage_daily_differs",
      "bookings: reservation_missing",
    ],
  ],
  [
    "a deleted account",
    (sql) => sql`delete from ledger_accounts where kind = 'provider'`,
    [
      ...Array.from({ length: 6 }, () => "bookings: ledger_entry_links_elsewhere"),
      "accounts: accounts_do_not_balance",
    ],
  ],
];

describe("the proofs find", () => {
  test.each(tamperings)("%s", async (_, change, found) => {
    const books = await openBooks();
    await keepBooks(books);
    await tamper(books.database.sql, change);
    expect((await codes(books)).sort()).toEqual([...found].sort());
    await books.close();
  });
});

describe("sealing", () => {
  let books: Books;

  beforeAll(async () => {
    books = await openBooks();
  });
  afterAll(() => books.close());

  test("waits for an entry that took its number earlier and commits later", async () => {
    const { database, company } = books;
    const slow = await database.sql.reserve();
    await slow`begin`;
    await slow`
      insert into ledger_entries (
        organization_id, id, occurred_at, kind, debit_account_id, credit_account_id, amount_nano_usd
      )
      select organization_id, 'ent_slow', now(), 'adjustment', min(id), max(id), 1
      from ledger_accounts
      group by organization_id
    `;
    await insertAdjustment(database.sql, company.organizationId);
    expect(await sealLedger(database.sql, systemClock, 0)).toBe(0);
    await slow`commit`;
    slow.release();
    expect(await sealLedger(database.sql, systemClock, 0)).toBe(2);
    expect(await sealLedger(database.sql, systemClock, 0)).toBe(0);
    expect(await codes(books)).toEqual([]);
  });

  test("by two sealers beside many small transactions misses none and doubles none", async () => {
    const { database, company, newReservation } = books;
    const sealers = ["one", "two"].map((name) =>
      connect(database.url, { connectionsMax: 2, applicationName: `sealer ${name}` }),
    );
    const writers = await Promise.all([1, 2, 3].map(() => openTestWriter(database.url)));
    const count = async () =>
      (await database.sql<[{ count: number }]>`select count(*)::int from ledger_entries`)[0].count;
    const before = await count();
    let isBooking = true;
    const sealing = sealers.map(async (sql) => {
      let sealedCount = 0;
      while (isBooking) {
        sealedCount += await sealLedger(sql, systemClock);
      }
      return sealedCount;
    });
    const paying = writers.flatMap(({ writer }) =>
      Array.from({ length: 8 }, async () => {
        for (let call = 0; call < 20; call++) {
          const held = newReservation();
          await writer.reserve(held);
          await writer.close(settled(held, 10n), null);
        }
      }),
    );
    const adjusting = Array.from({ length: 6 }, async (_, connection) => {
      for (let call = 0; call < 40; call++) {
        // Some take a number and give up; some commit after others that began later.
        await database.sql
          .begin(async (transaction) => {
            await insertAdjustment(transaction, company.organizationId);
            await transaction`select pg_sleep(${(call % 3) / 1_000})`;
            if (call % 5 === connection % 5) {
              throw new Error("rolled back");
            }
          })
          .catch(() => {});
      }
    });
    await Promise.all([...paying, ...adjusting]);
    isBooking = false;
    const sealedWhileBooking = await Promise.all(sealing);
    await sealLedger(database.sql, systemClock);

    expect(sealedWhileBooking.reduce((sum, count) => sum + count, 0)).toBeGreaterThan(0);
    const [row] = await database.sql<[{ sealed: bigint; booked: bigint; seals: bigint }]>`
      select
        (select sum(entry_count) from ledger_seals)::bigint as sealed,
        (select count(*) from ledger_entries) as booked,
        (select count(*) from ledger_seals) as seals
    `;
    expect((await count()) - before).toBe(3 * 8 * 20 + 6 * 40 * (4 / 5));
    expect(row.sealed).toBe(row.booked);
    expect(row.seals).toBeGreaterThan(3n);
    expect(await codes(books)).toEqual([]);
    expect((await verify(books)).totals.unsealedEntryCount).toBe(0n);

    await Promise.all(sealers.map((sql) => sql.end()));
    await Promise.all(writers.map((opened) => opened.close()));
  });
});

describe("the scheduled proof", () => {
  test("puts drift on record for every node's gauge, and on the log", async () => {
    const books = await openBooks();
    await keepBooks(books);
    const { sql } = books.database;
    const lines: { event: string; fields: LogFields }[] = [];
    const note = (event: string, fields: LogFields = {}) => {
      lines.push({ event, fields });
    };
    const prove = async (hour: number) =>
      await proveLedger.run({
        sql,
        writer: books.writer,
        log: { debug: note, info: note, warn: note, error: note },
        clock: { ...systemClock, now: () => new Date(Date.UTC(2026, 11, 20, hour, 29)) },
      });

    expect(await ledgerDriftNewest(sql)).toBeNaN();
    expect(await prove(10)).toBe(0);
    expect(await ledgerDriftNewest(sql)).toBe(0);

    // The window began on 1 November, 49 days ago: only the whole proof at night sees it.
    await sql`update budget_windows set settled_nano_usd = settled_nano_usd + 7`;
    expect(await prove(11)).toBe(0);
    expect(await prove(3)).toBe(2);
    expect(await prove(12)).toBe(0);
    expect(await ledgerDriftNewest(sql)).toBe(14);
    expect(lines).toEqual([{ event: "ledger.drift", fields: { job: "prove_ledger", count: 2 } }]);

    await sql`update budget_windows set settled_nano_usd = settled_nano_usd - 7`;
    expect(await prove(3)).toBe(0);
    expect(await ledgerDriftNewest(sql)).toBe(0);
    await books.close();
  });
});

describe("spendra ledger verify", () => {
  let books: Books;

  beforeAll(async () => {
    books = await openBooks();
    await keepBooks(books);
  });
  afterAll(() => books.close());

  const run = (...args: string[]) =>
    runSpendra(["ledger", ...args], { environment: { DATABASE_URL: books.database.url } });

  test("says what is wrong, by how much, and exits with 1", async () => {
    await books.database.sql`update budget_windows set settled_nano_usd = settled_nano_usd + 1`;
    const wrong = await run("verify");
    await books.database.sql`update budget_windows set settled_nano_usd = settled_nano_usd - 1`;
    expect(wrong.code).toBe(1);
    expect(wrong.stdout).toMatch(/^windows +org_\w+ +window_settled_differs: window win_/m);
    expect(wrong.stdout).toContain(
      "settled is $0.000003711, $0.000000001 more than the $0.00000371 of the ledger's entries",
    );
    expect(wrong.stdout).toContain("2 difference(s), $0.000000002 in all");
  });

  test("refuses what it does not know with 2", async () => {
    for (const args of [
      [],
      ["prove"],
      ["verify", "--all"],
      ["verify", "--organization", UNKNOWN_ORGANIZATION],
    ]) {
      expect((await run(...args)).code).toBe(2);
    }
  });

  test("exits with 0 when everything agrees", async () => {
    const right = await run("verify");
    expect(right.stdout).toContain("the books are right: nothing differs");
    expect(right.stdout).toContain("6 entries of $0.00000371, 2 seals (1 entries not sealed yet)");
    expect(right.stderr).toBe("");
    expect(right.code).toBe(0);
  });

  test("answers a script with one JSON line", async () => {
    const { organizationId } = books.company;
    const answer = await run("verify", "--json", "--organization", organizationId);
    expect(answer.code).toBe(0);
    expect(JSON.parse(answer.stdout)).toMatchObject({
      isClean: true,
      differenceCount: 0,
      driftUsd: "0",
      differences: [],
      organizationCount: 1,
      entryCount: 6,
      spentUsd: "0.00000371",
      heads: [{ organizationId, sealNo: 2 }],
    });
  });
});
