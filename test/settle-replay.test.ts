/** Settlements on a node's disk in the hands of an operator, while the node runs and while not. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { copyFile, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { UsageError } from "../src/cli/command.ts";
import type { DemoCompany } from "../src/cli/demo-company.ts";
import { settleCommand } from "../src/cli/settle-command.ts";
import { toClosingJson } from "../src/reservations/batch-json.ts";
import { DeadLetters } from "../src/reservations/dead-letters.ts";
import type { NewReservation } from "../src/reservations/reservation.ts";
import type { ReplayReport } from "../src/reservations/settlements.ts";
import type { SpoolRecord } from "../src/reservations/spool.ts";
import { encodeRecord, readRecords } from "../src/reservations/spool-file.ts";
import { type GatedProvider, gateProvider } from "./gated-provider.ts";
import {
  ADMIN,
  foundCompany,
  METRICS_TOKEN,
  nodeEnvironment,
  runSpendra,
  startNode,
  type TestNode,
} from "./node.ts";
import { postChat, readBooks } from "./node-calls.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";
import { makeReservations, settled } from "./sample-reservations.ts";
import { openTcpProxy, type TcpProxy } from "./tcp-proxy.ts";
import { openTestWriter } from "./test-writer.ts";
import { waitUntil } from "./wait-until.ts";

const CALLS = 20;
/** 10 and 5 tokens of gpt-4o-mini, as the gated provider reports them. */
const COST_NANO_USD = 10n * 150n + 5n * 600n;
const SPOOL = "settlements.spool";
const DEAD = "dead-letters.spool";
const SOCKET = "operator.sock";

let database: TestDatabase;
let proxy: TcpProxy;
let provider: GatedProvider;
let company: DemoCompany;
let node: TestNode | null = null;
let directory: string;

beforeEach(async () => {
  database = await testDatabase();
  proxy = await openTcpProxy(database.url);
  provider = gateProvider();
  company = await foundCompany(database.sql, provider.baseUrl);
  directory = await mkdtemp(join(tmpdir(), "spendra-settle-"));
});

afterEach(async () => {
  provider.open();
  await proxy.restore();
  await node?.stop();
  node = null;
  await proxy.stop();
  await provider.stop();
  await database.drop();
  await rm(directory, { recursive: true, force: true });
});

async function start(): Promise<TestNode> {
  node = await startNode(proxy.url, { environment: { SPENDRA_STATE_DIR: directory } });
  return node;
}

async function settle(...args: string[]) {
  const environment = nodeEnvironment(proxy.url, directory);
  const { code, stdout, stderr } = await runSpendra(["settle", ...args, "--json"], { environment });
  return { code, stderr, answer: stdout === "" ? null : (JSON.parse(stdout) as unknown) };
}

/** As the command does. */
async function askNode(method: string, route: string): Promise<unknown> {
  const options = { unix: join(directory, SOCKET), method };
  return await (await fetch(`http://localhost${route}`, options)).json();
}

async function replay(): Promise<ReplayReport> {
  const { code, answer, stderr } = await settle("replay");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return answer as ReplayReport;
}

/** Calls that end while the database is away: their settlements are on the disk. */
async function spoolCalls(running: TestNode): Promise<void> {
  const answers = Array.from({ length: CALLS }, () => postChat(running, company.token));
  await waitUntil("the provider is asked", () => provider.count() === CALLS);
  await proxy.cut();
  provider.open();
  for (const answer of answers) {
    expect((await answer).status).toBe(200);
  }
  expect(readRecords(await readFile(join(directory, SPOOL))).records).toHaveLength(CALLS);
}

const bookedOnce = {
  entries: CALLS,
  events: CALLS,
  settled: CALLS,
  held: 0,
  heldNanoUsd: 0n,
  settledNanoUsd: BigInt(CALLS) * COST_NANO_USD,
  bookedNanoUsd: BigInt(CALLS) * COST_NANO_USD,
};

async function signIn(running: TestNode): Promise<string> {
  const response = await fetch(`${running.url}/management/session`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(ADMIN),
  });
  return response.headers.get("set-cookie")?.split(";")[0] ?? "";
}

describe("a replay", () => {
  test("beside the node's own worker books each settlement once, from all sides", async () => {
    const running = await start();
    const cookie = await signIn(running);
    await spoolCalls(running);
    // The command needs no database: it asks the node, which tries until its own is back.
    const command = replay();
    const asked = [askNode("POST", "/settlements/replay"), askNode("POST", "/settlements/replay")];
    // Answered after those two have begun to wait.
    expect(await askNode("GET", "/dead-letters")).toEqual([]);
    await proxy.restore();
    const overHttp = await fetch(`${running.url}/management/settlements/replay`, {
      method: "POST",
      headers: { cookie },
    });
    expect(overHttp.status).toBe(200);
    expect(await overHttp.json()).toMatchObject({ leftCount: 0, deadLetteredCount: 0 });
    for (const report of await Promise.all(asked)) {
      expect(report).toMatchObject({ bookedCount: CALLS, alreadyBookedCount: 0, leftCount: 0 });
    }
    expect(await command).toMatchObject({ alreadyBookedCount: 0, leftCount: 0 });
    expect(await readBooks(database)).toMatchObject(bookedOnce);
    expect(await replay()).toMatchObject({ bookedCount: 0, alreadyBookedCount: 0, leftCount: 0 });
    expect((await stat(join(directory, SPOOL))).size).toBe(0);
  }, 60_000);

  test("without a node books what a killed one left; thrice more changes nothing", async () => {
    const running = await start();
    await spoolCalls(running);
    running.process.kill("SIGKILL");
    await running.process.exited;
    node = null;
    await copyFile(join(directory, SPOOL), join(directory, "copy"));
    await proxy.restore();
    expect(await readBooks(database)).toMatchObject({ held: CALLS, entries: 0 });
    expect(await replay()).toMatchObject({ bookedCount: CALLS, alreadyBookedCount: 0 });
    expect(await readBooks(database)).toMatchObject(bookedOnce);
    for (let round = 0; round < 3; round++) {
      await copyFile(join(directory, "copy"), join(directory, SPOOL));
      expect(await replay()).toMatchObject({ bookedCount: 0, alreadyBookedCount: CALLS });
      expect(await readBooks(database)).toMatchObject(bookedOnce);
    }
    // The lock was given back: the node may start, and finds nothing to do.
    await start();
    expect(await readBooks(database)).toMatchObject(bookedOnce);
  }, 60_000);

  test("says what is left when the database stays away", async () => {
    const running = await start();
    const cookie = await signIn(running);
    await spoolCalls(running);
    const refused = await fetch(`${running.url}/management/settlements/replay`, {
      method: "POST",
      headers: { cookie },
    });
    expect(refused.status).toBe(503);
    const report = await askNode("POST", "/settlements/replay");
    expect(report).toMatchObject({ bookedCount: 0, leftCount: CALLS });
    expect((await stat(join(directory, SOCKET))).mode & 0o777).toBe(0o600);
    await proxy.restore();
    await waitUntil("all is booked", async () => (await readBooks(database)).entries === CALLS);
    expect(await readBooks(database)).toMatchObject(bookedOnce);
  }, 60_000);
});

describe("a dead letter", () => {
  let held: NewReservation[];
  let good: SpoolRecord;
  let bad: SpoolRecord;
  let lost: SpoolRecord;

  beforeEach(async () => {
    const newReservation = await makeReservations(database.sql, company);
    const opened = await openTestWriter(database.url);
    held = [newReservation(), newReservation()];
    for (const reservation of held) {
      expect((await opened.writer.reserve(reservation)).status).toBe("granted");
    }
    await opened.close();
    const [first, second] = held as [NewReservation, NewReservation];
    good = recordOf(first);
    bad = recordOf(second);
    bad = {
      ...bad,
      closing: { ...bad.closing, row: { ...bad.closing.row, usage_source: "nonsense" } },
    };
    lost = recordOf(newReservation());
    const letters = [good, bad, lost, good].map((record) =>
      encodeRecord(JSON.stringify({ ...record, reason: "the reason" })),
    );
    await writeFile(join(directory, DEAD), Buffer.concat(letters));
  });

  const recordOf = (reservation: NewReservation): SpoolRecord => ({
    version: 1,
    closing: toClosingJson(settled(reservation, 400n)),
    request: null,
  });
  const idOf = ({ closing }: SpoolRecord) => `${closing.reservationId}.settled`;

  async function listed(): Promise<string[]> {
    const { code, answer } = await settle("dead-letters");
    expect(code).toBe(0);
    const { deadLetters } = answer as { deadLetters: { id: string; reason: string }[] };
    return deadLetters.map(({ id }) => id);
  }

  test("is an alert, is listed and shown, and is booked by an audited retry", async () => {
    const running = await start();
    await running.logged("alert.raised");
    const [alert] = await database.sql`select kind, severity, details from alerts`;
    expect(alert).toEqual({
      kind: "settlement_dead_letters",
      severity: "critical",
      details: { deadLetterCount: 3 },
    });
    expect(await listed()).toEqual([good, bad, lost].map(idOf));
    const shown = await settle("dead-letters", "show", idOf(good));
    expect(shown.answer).toMatchObject({
      costUsd: "0.0000004",
      reason: "the reason",
      record: good,
    });
    const retried = await settle("dead-letters", "retry", idOf(good));
    expect(retried).toMatchObject({ code: 0, answer: { outcome: "booked" } });
    const audit = await database.sql`
      select user_id, organization_id, after, before->>'reason' as reason
      from audit_log where action = 'dead_letter.close' and subject_id = ${idOf(good)}
    `;
    expect([...audit]).toEqual([
      {
        user_id: null,
        organization_id: company.organizationId,
        after: { outcome: "booked" },
        reason: "the reason",
      },
    ]);
    expect(await listed()).toEqual([bad, lost].map(idOf));
    expect(await readBooks(database)).toMatchObject({ entries: 1, bookedNanoUsd: 400n });
    const headers = { authorization: `Bearer ${METRICS_TOKEN}` };
    const metrics = await (await fetch(`${running.metricsUrl}/metrics`, { headers })).text();
    expect(metrics).toContain("\nspendra_dead_letters 2\n");
  }, 60_000);

  test("stays when it is refused again, or when its cost is in no book", async () => {
    await database.sql`
      update reservations set status = 'released', ended_at = now()
      where id = ${good.closing.reservationId}
    `;
    for (const running of [false, true]) {
      if (running) {
        await start();
      }
      const refused = await settle("dead-letters", "retry", idOf(bad));
      expect(refused).toMatchObject({ code: 1, answer: { outcome: "refused" } });
      const unknown = await settle("dead-letters", "retry", idOf(lost));
      expect(unknown).toMatchObject({ code: 1, answer: { outcome: "unknown_reservation" } });
      const released = await settle("dead-letters", "retry", idOf(good));
      expect(released).toMatchObject({ code: 1, answer: { outcome: "released_before" } });
      const none = await settle("dead-letters", "retry", "rsv_none.settled");
      expect(none).toMatchObject({ code: 1, answer: null });
      expect(none.stderr).toContain("there is no open dead letter rsv_none.settled");
      expect(await listed()).toEqual([good, bad, lost].map(idOf));
    }
    const audit = await database.sql`
      select from audit_log where action = 'dead_letter.close'
    `;
    expect(audit).toHaveLength(0);
    expect(await readBooks(database)).toMatchObject({ entries: 0 });
  }, 60_000);

  test("that can never be booked is closed by nobody but an operator, with a reason", async () => {
    for (const words of [
      [idOf(lost)],
      [idOf(lost), "--reason", " "],
      ["x", "y", "--reason", "z"],
    ]) {
      expect(await settle("dead-letters", "discard", ...words)).toMatchObject({ code: 2 });
    }
    await start();
    const reason = "a test key, nobody was billed";
    const none = await settle("dead-letters", "discard", "rsv_none.settled", "--reason", reason);
    expect(none).toMatchObject({ code: 1, answer: null });
    const discarded = await settle("dead-letters", "discard", idOf(lost), "--reason", reason);
    expect(discarded).toMatchObject({ code: 0, answer: { outcome: "discarded" } });
    expect(await listed()).toEqual([good, bad].map(idOf));
    const audit = await database.sql`
      select subject_id as id, after from audit_log where action = 'dead_letter.close'
    `;
    expect(audit).toMatchObject([{ id: idOf(lost), after: { outcome: "discarded", reason } }]);
    expect(await readBooks(database)).toMatchObject({ entries: 0 });
  }, 60_000);

  test("is what a replay makes of a refused record; the others are booked", async () => {
    await rm(join(directory, DEAD));
    const records = [bad, good].map((record) => encodeRecord(JSON.stringify(record)));
    await writeFile(join(directory, SPOOL), Buffer.concat(records));
    expect(await settle("replay")).toMatchObject({
      code: 1,
      answer: { bookedCount: 1, alreadyBookedCount: 0, deadLetteredCount: 1, leftCount: 0 },
    });
    expect(await listed()).toEqual([idOf(bad)]);
    expect(await readBooks(database)).toMatchObject({ entries: 1, bookedNanoUsd: 400n });
  }, 60_000);

  test("is one however often it is refused, and is closed by nothing but its closing", async () => {
    const path = join(directory, DEAD);
    for (let restart = 0; restart < 20; restart++) {
      const { deadLetters } = await DeadLetters.open(path);
      expect(deadLetters.count).toBe(3);
      await Promise.all([deadLetters.bury(bad, "again"), deadLetters.bury(bad, "and again")]);
      expect(deadLetters.count).toBe(3);
      await deadLetters.end();
    }
    const { deadLetters } = await DeadLetters.open(path);
    await deadLetters.close(idOf(good), new Date());
    await deadLetters.close(idOf(lost), new Date());
    await deadLetters.end();
    const again = (await DeadLetters.open(path)).deadLetters;
    expect(again.list().map(({ id, reason }) => [id, reason])).toEqual([[idOf(bad), "the reason"]]);
    await again.close(idOf(bad), new Date());
    await again.end();
    const emptied = (await DeadLetters.open(path)).deadLetters;
    expect((await stat(path)).size).toBe(0);
    await emptied.bury(good, "later");
    await emptied.end();
    expect(readRecords(await readFile(path)).records).toHaveLength(1);
  });
});

test("spendra settle refuses what it does not know as wrong usage", async () => {
  for (const words of [
    [],
    ["nonsense"],
    ["replay", "more"],
    ["dead-letters", "show"],
    ["dead-letters", "list", "rsv_1.settled"],
    ["dead-letters", "close", "rsv_1.settled"],
    ["replay", "--nonsense"],
  ]) {
    const failure: unknown = await settleCommand.run(words).catch((error: unknown) => error);
    expect(failure, words.join(" ")).toBeInstanceOf(UsageError);
  }
});
