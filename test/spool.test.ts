/** Settlements that the database cannot take are kept on disk, and lost by nothing. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DemoCompany } from "../src/cli/demo-company.ts";
import { toClosingJson } from "../src/reservations/batch-json.ts";
import type { NewReservation } from "../src/reservations/reservation.ts";
import type { SpoolRecord } from "../src/reservations/spool.ts";
import { encodeRecord, readRecords, SpoolFile } from "../src/reservations/spool-file.ts";
import { foundCompany } from "./node.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";
import { makeReservations, type ReservationMaker, settled } from "./sample-reservations.ts";
import { openTcpProxy, type TcpProxy } from "./tcp-proxy.ts";
import { openTestWriter, type TestWriter } from "./test-writer.ts";
import { waitUntil } from "./wait-until.ts";

const SPOOL = "settlements.spool";

describe("a spool file", () => {
  let directory: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "spendra-spool-file-"));
  });

  afterEach(async () => {
    await rm(directory, { recursive: true, force: true });
  });

  const texts = ["first", "second: ünïcödé 🙂", "x".repeat(500)];
  const whole = Buffer.concat(texts.map(encodeRecord));

  test("gives back every record before a cut, wherever the cut is", () => {
    const ends = [0];
    for (const text of texts) {
      ends.push((ends.at(-1) ?? 0) + encodeRecord(text).length);
    }
    for (let cut = 0; cut <= whole.length; cut++) {
      const count = ends.filter((end) => end > 0 && end <= cut).length;
      const { records, length } = readRecords(whole.subarray(0, cut));
      expect(records).toEqual(texts.slice(0, count));
      expect(length).toBe(ends[count] ?? -1);
    }
  });

  test("gives back every record before one that was damaged, wherever the damage is", () => {
    const second = encodeRecord("first").length;
    for (let index = second; index < whole.length; index++) {
      const damaged = Buffer.from(whole);
      damaged.writeUInt8((damaged.readUInt8(index) ^ 0x55) & 0xff, index);
      const { records } = readRecords(damaged);
      expect(records[0]).toBe("first");
      expect(records.length).toBeLessThan(3);
    }
  });

  test("keeps a torn tail aside and goes on behind the last good record", async () => {
    const path = join(directory, "records");
    await writeFile(path, whole.subarray(0, whole.length - 7));
    const opened = await SpoolFile.open(path);
    expect(opened.records).toEqual(texts.slice(0, 2));
    expect(opened.tornBytes).toBe(encodeRecord(texts[2] ?? "").length - 7);
    await opened.spoolFile.append("fourth");
    await opened.spoolFile.close();
    const again = await SpoolFile.open(path);
    await again.spoolFile.close();
    expect(again.records).toEqual([...texts.slice(0, 2), "fourth"]);
    expect((await stat(`${path}.torn`)).size).toBe(opened.tornBytes);
  });

  test("takes a thousand records at once and has them in order", async () => {
    const path = join(directory, "records");
    const { spoolFile } = await SpoolFile.open(path);
    const many = Array.from({ length: 1_000 }, (_, index) => `record ${index}`);
    await Promise.all(many.map((text) => spoolFile.append(text)));
    await spoolFile.close();
    expect(readRecords(await readFile(path)).records).toEqual(many);
  });
});

describe("while the database is away", () => {
  let database: TestDatabase;
  let company: DemoCompany;
  let proxy: TcpProxy;
  let newReservation: ReservationMaker;
  let directory: string;
  let opened: TestWriter;

  beforeAll(async () => {
    database = await testDatabase();
    company = await foundCompany(database.sql, "http://127.0.0.1:9/v1");
    newReservation = await makeReservations(database.sql, company);
    proxy = await openTcpProxy(database.url);
  });

  afterAll(async () => {
    await proxy.stop();
    await database.drop();
  });

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "spendra-spool-"));
    opened = await openTestWriter(proxy.url, { directory });
  });

  afterEach(async () => {
    await proxy.restore();
    await opened.close();
    await rm(directory, { recursive: true, force: true });
  });

  test.each(["cut", "stall"] as const)(
    "a settlement is kept in about half a second and booked when it returns (%s)",
    async (failure) => {
      const held = await hold();
      await proxy[failure]();
      const startedMs = performance.now();
      expect(await opened.writer.close(settled(held, 400n), null)).toBe(true);
      expect(performance.now() - startedMs).toBeLessThan(2_000);
      expect((await stat(join(directory, SPOOL))).size).toBeGreaterThan(200);
      await proxy.restore();
      await opened.writer.drain();
      await waitUntil(
        "the spool is empty",
        async () => (await stat(join(directory, SPOOL))).size === 0,
      );
      expect(await bookedFor(held)).toEqual({ status: "settled", booked: 400n, entries: 1n });
    },
  );

  test("a reservation is refused in time and holds nothing afterwards", async () => {
    proxy.stall();
    const reservation = newReservation();
    const startedMs = performance.now();
    const failure: unknown = await opened.writer
      .reserve(reservation)
      .catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: "reservation_unavailable", retryAfterSeconds: 2 });
    expect(performance.now() - startedMs).toBeLessThan(1_500);
    await proxy.restore();
    await opened.writer.drain();
    const held = await database.sql`select from reservations where status = 'held'`;
    expect(held.length).toBe(0);
  });

  test("what a killed process kept is booked by the next one, once, however often", async () => {
    const held = await hold();
    const record: SpoolRecord = {
      version: 1,
      closing: toClosingJson(settled(held, 400n)),
      request: null,
    };
    for (let restart = 0; restart < 3; restart++) {
      // As a process leaves it that kept the record and was killed.
      await opened.close();
      await writeFile(join(directory, SPOOL), encodeRecord(JSON.stringify(record)));
      opened = await openTestWriter(proxy.url, { directory });
      expect(opened.left.length).toBe(1);
      await opened.writer.replay(opened.left);
      expect((await stat(join(directory, SPOOL))).size).toBe(0);
      expect(await bookedFor(held)).toEqual({ status: "settled", booked: 400n, entries: 1n });
    }
  });

  test("a record that the database refuses is put aside, and the other 49 are booked", async () => {
    const all = await Promise.all(Array.from({ length: 50 }, () => hold()));
    const records = all.map((held): SpoolRecord => {
      const closing = toClosingJson(settled(held, 400n));
      return { version: 1, closing, request: null };
    });
    const bad = records[17];
    if (bad !== undefined) {
      records[17] = {
        ...bad,
        closing: { ...bad.closing, row: { ...bad.closing.row, usage_source: "nonsense" } },
      };
    }
    await opened.close();
    const texts = records.map((record) => encodeRecord(JSON.stringify(record)));
    await writeFile(join(directory, SPOOL), Buffer.concat(texts));
    opened = await openTestWriter(proxy.url, { directory });
    await opened.writer.replay(opened.left);
    const statuses = await Promise.all(all.map(async (held) => (await bookedFor(held)).status));
    expect(statuses.filter((status) => status === "settled").length).toBe(49);
    expect(statuses[17]).toBe("held");
    const dead = readRecords(await readFile(join(directory, "dead-letters.spool"))).records;
    expect(dead.length).toBe(1);
    expect(dead[0]).toContain("spend_events_usage_source");
    expect(dead[0]).toContain(all[17]?.id ?? "?");
    await opened.writer.close(settled(all[17] as NewReservation, 1n), null);
  });

  test("a full spool takes no new call, and the old ones are still booked", async () => {
    await opened.close();
    opened = await openTestWriter(proxy.url, { directory, bytesMax: 300 });
    const held = await hold();
    await proxy.cut();
    expect(await opened.writer.close(settled(held, 400n), null)).toBe(true);
    const failure: unknown = await opened.writer
      .reserve(newReservation())
      .catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: "reservation_unavailable" });
    expect(String(failure)).toContain("spool");
    await proxy.restore();
    await waitUntil(
      "the spool is empty",
      async () => (await stat(join(directory, SPOOL))).size === 0,
    );
    await waitUntil("the spool takes records again", () => opened.spool.canKeep);
    expect((await opened.writer.reserve(newReservation())).status).toBe("granted");
  });

  async function hold(): Promise<NewReservation> {
    const reservation = newReservation();
    expect((await opened.writer.reserve(reservation)).status).toBe("granted");
    return reservation;
  }

  async function bookedFor({ id }: NewReservation) {
    const [row] = await database.sql<[{ status: string; booked: bigint; entries: bigint }]>`
      select
        r.status,
        coalesce(sum(e.amount_nano_usd), 0)::bigint as booked,
        count(e.id) as entries
      from reservations r
      left join ledger_entries e
        on e.organization_id = r.organization_id and e.reservation_id = r.id
      where r.id = ${id}
      group by r.status
    `;
    return row;
  }
});
