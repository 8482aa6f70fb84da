/** Alerts: raised once for a cause, resolved when it is gone, and told to those who may know. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { changeByInstallation } from "../src/audit/audit-event.ts";
import { createBudget } from "../src/budgets/budget.ts";
import { createPolicy } from "../src/budgets/policy.ts";
import { type Clock, systemClock } from "../src/clock.ts";
import type { Sql } from "../src/database/client.ts";
import { type LogFields, openLog } from "../src/log.ts";
import { createMetrics } from "../src/metrics.ts";
import { ALERT_KINDS, type Finding } from "../src/notifications/alert-kind.ts";
import { nodeFindings } from "../src/notifications/node-causes.ts";
import { openNodeReport } from "../src/notifications/report-node.ts";
import { toClosingJson } from "../src/reservations/batch-json.ts";
import type { SpoolRecord, SpoolState } from "../src/reservations/spool.ts";
import type { Writer } from "../src/reservations/writer.ts";
import { raiseAlerts } from "../src/scheduler/jobs/raise-alerts.ts";
import { runSlot } from "../src/scheduler/scheduler.ts";
import { addMember, bookCall, type Company, foundCompany, openManagement } from "./acme.ts";
import { gateProvider } from "./gated-provider.ts";
import { foundCompany as foundDemo, startNode } from "./node.ts";
import { postChat } from "./node-calls.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";
import { settled } from "./sample-reservations.ts";
import { openTestWriter, type TestWriter } from "./test-writer.ts";

const NOW = new Date("2026-11-21T12:00:00Z");
const SECOND_MS = 1_000;
const HOUR_MS = 60 * 60_000;
/** 10 and 5 tokens of gpt-4o-mini, as the gated provider reports them. */
const CALL_NANO_USD = 10n * 150n + 5n * 600n;
const SOFT_LIMIT_NANO_USD = 10_000_000_000n;

type AlertItem = {
  id: string;
  kind: string;
  severity: string;
  subject: string;
  summary: string;
  details: Record<string, unknown>;
  resolvedAt: string | null;
  durationSeconds: number | null;
};
type Line = LogFields & { event: string; level: string };

let database: TestDatabase;
let acme: Company;
let globex: Company;
let token: string;
let now = NOW;
let lines: Line[] = [];
const clock: Clock = { now: () => now, monotonicMs: () => performance.now() };
const log = openLog("info", { write: (line) => lines.push(JSON.parse(line) as Line) });

beforeAll(async () => {
  database = await testDatabase();
  acme = await foundCompany(database.sql, "Acme", NOW);
  globex = await foundCompany(database.sql, "Globex", NOW);
  const { organizationId } = acme;
  ({ token } = await addMember(database.sql, { organizationId, role: "platform_admin", now: NOW }));
});

beforeEach(async () => {
  await database.sql`delete from alerts`;
  await database.sql`delete from job_runs`;
  await database.sql`delete from budget_windows`;
  await database.sql`delete from ledger_proofs`;
  await database.sql`update spend_events set is_overage = false where is_overage`;
  now = NOW;
  lines = [];
});

afterAll(async () => {
  await database.drop();
});

async function runJob(laterMs = 0): Promise<void> {
  now = new Date(NOW.getTime() + laterMs);
  const parts = { sql: database.sql, writer: {} as Writer, clock, log };
  await runSlot(raiseAlerts, now, {
    jobs: [],
    parts,
    nodeId: "nod_1",
    log,
    metrics: createMetrics(),
  });
}

async function ask(query = "", asker = token): Promise<AlertItem[]> {
  const api = openManagement(database.sql);
  const { status, body } = await api.call("GET", `/alerts${query}`, { token: asker });
  expect(status).toBe(200);
  return (body as { items: AlertItem[] }).items;
}

/** The thresholds below it are in budgets-alerts.test.ts. */
const OF_SOFT_CAP = "?kind=soft_cap_reached";
const linesOf = (kind: string) => lines.filter(({ alertKind }) => alertKind === kind);
const events = (kind?: string) =>
  (kind === undefined ? lines : linesOf(kind)).map(
    ({ event, alertKind }) => `${event} ${alertKind}`,
  );

describe("a soft cap", () => {
  beforeAll(async () => {
    const { organizationId, budgetId } = acme;
    await database.sql`
      insert into policies (organization_id, id, name, kind, budget_id, created_at)
      values (${organizationId}, 'pol_soft', 'Warn', 'soft_cap', ${budgetId}, ${NOW})
    `;
  });

  async function openWindow(startedMs: number, endsMs: number, settledNanoUsd: bigint) {
    const { organizationId, budgetId } = acme;
    await database.sql`
      insert into budget_windows (
        organization_id, id, budget_id, window_start, window_end, limit_nano_usd, settled_nano_usd,
        held_nano_usd
      )
      values (
        ${organizationId}, ${`win_${startedMs}`}, ${budgetId},
        ${new Date(NOW.getTime() + startedMs)}, ${new Date(NOW.getTime() + endsMs)},
        ${SOFT_LIMIT_NANO_USD}, ${settledNanoUsd}, 1
      )
    `;
  }

  test("below its limit by a nano-dollar raises nothing, and at its limit one alert", async () => {
    await openWindow(-HOUR_MS, HOUR_MS, SOFT_LIMIT_NANO_USD - 2n);
    await runJob();
    expect(await ask(OF_SOFT_CAP)).toEqual([]);
    await database.sql`update budget_windows set settled_nano_usd = settled_nano_usd + 1`;
    await runJob(SECOND_MS);
    const [alert, ...more] = await ask(OF_SOFT_CAP);
    expect(more).toEqual([]);
    expect(alert).toMatchObject({
      kind: "soft_cap_reached",
      severity: "warning",
      subject: acme.budgetId,
      details: { limitUsd: "10", settledUsd: "9.999999999", heldUsd: "0.000000001" },
      resolvedAt: null,
    });
    expect(alert?.summary).toContain("Nothing is blocked");
    expect(events("soft_cap_reached")).toEqual(["alert.raised soft_cap_reached"]);
    expect(linesOf("soft_cap_reached")[0]).toMatchObject({
      organizationId: acme.organizationId,
      level: "warn",
    });
  });

  test("found again stays one alert with the newest numbers", async () => {
    await openWindow(-HOUR_MS, HOUR_MS, SOFT_LIMIT_NANO_USD);
    await runJob();
    await database.sql`update budget_windows set settled_nano_usd = settled_nano_usd * 2`;
    await runJob(30 * SECOND_MS);
    expect(await ask(OF_SOFT_CAP)).toMatchObject([{ details: { settledUsd: "20" } }]);
    expect(events("soft_cap_reached")).toEqual(["alert.raised soft_cap_reached"]);
  });

  test("whose window is over is resolved, tells how long it was, and may come again", async () => {
    await openWindow(-HOUR_MS, HOUR_MS, SOFT_LIMIT_NANO_USD);
    await runJob();
    await runJob(HOUR_MS);
    expect(await ask(`${OF_SOFT_CAP}&state=open`)).toEqual([]);
    expect(await ask(`${OF_SOFT_CAP}&state=resolved`)).toMatchObject([{ durationSeconds: 3_600 }]);
    expect(linesOf("soft_cap_reached").at(-1)).toMatchObject({
      event: "alert.resolved",
      durationMs: HOUR_MS,
    });
    await openWindow(HOUR_MS, 2 * HOUR_MS, SOFT_LIMIT_NANO_USD);
    await runJob(HOUR_MS + SECOND_MS);
    expect((await ask(OF_SOFT_CAP)).map(({ resolvedAt }) => resolvedAt === null)).toEqual([
      true,
      false,
    ]);
  });

  test("that was archived, or is a hard cap only, raises nothing", async () => {
    await openWindow(-HOUR_MS, HOUR_MS, SOFT_LIMIT_NANO_USD);
    await database.sql`update policies set archived_at = ${NOW} where id = 'pol_soft'`;
    await runJob();
    await database.sql`update policies set archived_at = null where id = 'pol_soft'`;
    expect(await ask(OF_SOFT_CAP)).toEqual([]);
  });
});

test("calls beyond a soft cap are answered and booked, and raise its alert", async () => {
  const governed = await testDatabase();
  const provider = gateProvider();
  provider.open();
  const company = await foundDemo(governed.sql, provider.baseUrl);
  const { organizationId } = company;
  await softenBudget(governed.sql, organizationId, 2n * CALL_NANO_USD);
  const node = await startNode(governed.url);
  try {
    const parts = { sql: governed.sql, writer: {} as Writer, clock: systemClock, log };
    const openAlerts = () => governed.sql<{ kind: string; details: object }[]>`
      select kind, details from alerts
      where organization_id = ${organizationId} and kind = 'soft_cap_reached'
    `;
    for (let call = 0; call < 4; call++) {
      expect((await postChat(node, company.token)).status).toBe(200);
      // The node's own job may be faster; then this one finds the alert open.
      await raiseAlerts.run(parts);
      expect(await openAlerts()).toHaveLength(call === 0 ? 0 : 1);
    }
    expect(await openAlerts()).toMatchObject([
      { kind: "soft_cap_reached", details: { limitUsd: "0.000009", settledUsd: "0.000018" } },
    ]);
  } finally {
    await node.stop();
    await provider.stop();
    await governed.drop();
  }
}, 30_000);

async function softenBudget(sql: Sql, organizationId: string, amountNanoUsd: bigint) {
  const change = changeByInstallation(new Date());
  await sql.begin(async (transaction) => {
    const budgetId = await createBudget(
      transaction,
      {
        organizationId,
        name: "Watched",
        scope: { kind: "organization", id: organizationId },
        provider: null,
        model: null,
        tool: null,
        environment: null,
        amountNanoUsd,
        period: "lifetime",
        timeZone: "UTC",
        startsAt: null,
        endsAt: null,
      },
      change,
    );
    const policy = { organizationId, name: "Warn", kind: "soft_cap" as const, budgetId };
    await createPolicy(transaction, policy, change);
  });
}

describe("what the books tell", () => {
  test("costs above their hold are one alert a model, open for a day", async () => {
    const { organizationId, adaKeyId: apiKeyId, adaId: actorId } = acme;
    const at = new Date(NOW.getTime() - HOUR_MS);
    await bookCall(database.sql, { organizationId, apiKeyId, actorId, at });
    await database.sql`
      update spend_events set is_overage = true, cost_nano_usd = 10500001 where occurred_at = ${at}
    `;
    await runJob();
    expect(await ask()).toMatchObject([
      {
        kind: "overage",
        subject: "openai/gpt-4o-mini",
        details: { count: 1, overUsd: "0.000000001" },
      },
    ]);
    await runJob(23 * HOUR_MS - SECOND_MS);
    expect(await ask("?state=open")).toHaveLength(1);
    await runJob(23 * HOUR_MS);
    expect(await ask("?state=open")).toEqual([]);
  });

  test("holds are stuck two minutes past their deadline, and not a moment sooner", async () => {
    await database.sql`
      update reservations
      set status = 'held', settled_at = null, ended_at = null, cost_nano_usd = null,
        deadline_at = ${NOW}
      where organization_id = ${globex.organizationId}
    `;
    await runJob(120 * SECOND_MS);
    expect(events()).toEqual([]);
    await runJob(120 * SECOND_MS + 1);
    expect(events()).toEqual(["alert.raised reservations_stuck"]);
    expect(lines[0]?.organizationId).toBe(globex.organizationId);
    // It is another organization's, and its numbers stay there.
    expect(await ask()).toEqual([]);
    const { organizationId } = globex;
    const member = await addMember(database.sql, { organizationId, role: "auditor", now: NOW });
    expect(await ask("", member.token)).toMatchObject([
      { details: { count: 2, heldUsd: "0.021", overdueSeconds: 120 } },
    ]);
    await database.sql`
      update reservations set status = 'released', ended_at = ${NOW} where status = 'held'
    `;
    await runJob(130 * SECOND_MS);
    expect(events().at(-1)).toBe("alert.resolved reservations_stuck");
  });

  test("a proof that found a difference is critical until a newer one finds none", async () => {
    const prove = async (sinceAt: Date | null, count: number) => {
      await database.sql`
        insert into ledger_proofs (proved_at, since_at, difference_count, drift_nano_usd)
        values (${NOW}, ${sinceAt}, ${count}, ${count * 5})
      `;
    };
    await prove(null, 0);
    await runJob();
    expect(await ask()).toEqual([]);
    await prove(NOW, 2);
    await runJob(SECOND_MS);
    expect(await ask()).toMatchObject([
      { severity: "critical", details: { differenceCount: 2, driftUsd: "0.00000001" } },
    ]);
    expect(lines.at(-1)).toMatchObject({ event: "alert.raised", level: "error" });
    await prove(null, 0);
    await runJob(2 * SECOND_MS);
    expect(await ask("?state=open")).toHaveLength(1);
    await prove(NOW, 0);
    await runJob(3 * SECOND_MS);
    expect(await ask("?state=open")).toEqual([]);
  });
});

describe("a node", () => {
  const calm: SpoolState = {
    recordCount: 0,
    oldestAgeMs: 0,
    bytes: 0,
    bytesMax: 1_000,
    deadLetterCount: 0,
  };

  test.each<[string, Partial<SpoolState>, string[]]>([
    ["with nothing in its spool", {}, []],
    ["a minute behind", { recordCount: 1, oldestAgeMs: 60_000 }, []],
    ["over a minute behind", { recordCount: 1, oldestAgeMs: 60_001 }, ["warning spool_backlog"]],
    ["five minutes behind", { recordCount: 1, oldestAgeMs: 300_000 }, ["warning spool_backlog"]],
    ["over five minutes", { recordCount: 1, oldestAgeMs: 300_001 }, ["critical spool_backlog"]],
    ["a thousand records behind", { recordCount: 1_000 }, []],
    ["more records behind", { recordCount: 1_001 }, ["warning spool_backlog"]],
    ["with a spool below 80%", { bytes: 799 }, []],
    ["with a spool at 80%", { bytes: 800 }, ["warning spool_filling"]],
    ["with a full spool", { bytes: 1_000 }, ["critical spool_filling"]],
    ["with a dead letter", { deadLetterCount: 1 }, ["critical settlement_dead_letters"]],
  ])("%s reports as the thresholds say", (_, state, expected) => {
    const findings: readonly Finding[] = nodeFindings("nod_1", { ...calm, ...state });
    expect(findings.map(({ severity, kind }) => `${severity} ${kind}`)).toEqual(expected);
    expect(findings.every(({ subject }) => subject === "nod_1")).toBe(true);
  });

  test("reports what its spool holds, and resolves its own", async () => {
    const opened = await openTestWriter(database.url);
    try {
      const record = recordAt(new Date(NOW.getTime() - 61 * SECOND_MS));
      await opened.spool.keep(record);
      const report = reportOf(opened, "nod_1");
      const first = report();
      // While the database hangs, no second report waits behind the first.
      expect(report()).toBe(first);
      await first;
      await reportOf(opened, "nod_2")();
      expect(events()).toEqual(["alert.raised spool_backlog", "alert.raised spool_backlog"]);
      expect(await ask()).toMatchObject([{ severity: "warning" }, { severity: "warning" }]);
      now = new Date(NOW.getTime() + 240 * SECOND_MS);
      await report();
      expect(lines.at(-1)).toMatchObject({ event: "alert.raised", severity: "critical" });
      // The job that looks into the database leaves the nodes' alerts alone.
      await runJob(241 * SECOND_MS);
      expect(await ask("?state=open")).toHaveLength(2);
      await opened.spool.forget(record, "booked");
      await report();
      const open = await ask("?state=open&kind=spool_backlog");
      expect(open.map(({ subject }) => subject)).toEqual(["nod_2"]);
      const gauge = await opened.metrics.spoolOldestSeconds.get();
      expect(gauge.values[0]?.value).toBe(0);
    } finally {
      await opened.close();
    }
  });

  function reportOf(opened: TestWriter, nodeId: string): () => Promise<void> {
    return openNodeReport({ sql: database.sql, log, clock, spool: opened.spool, nodeId });
  }

  function recordAt(occurredAt: Date): SpoolRecord {
    const held = { organizationId: "org_1", id: "rsv_1", provider: "openai", windows: [] };
    const closing = { ...settled(held as never, 1n), occurredAt };
    return { version: 1, closing: toClosingJson(closing), request: null };
  }
});

describe("the list of alerts", () => {
  beforeEach(async () => {
    for (let index = 0; index < 5; index++) {
      const openedAt = new Date(NOW.getTime() + index);
      await database.sql`
        insert into alerts (
          organization_id, id, kind, severity, subject, summary, opened_at, last_seen_at
        )
        values (
          ${index === 0 ? "" : acme.organizationId},
          ${`alt_0000000000000000000000000${index}`}, 'overage', 'warning', ${`m${index}`}, 'S',
          ${openedAt}, ${openedAt}
        )
      `;
    }
  });

  test("comes in pages, newest first, the installation's among them", async () => {
    const api = openManagement(database.sql);
    const subjects: string[] = [];
    let cursor = "";
    do {
      const { body } = await api.call("GET", `/alerts?limit=2${cursor}`, { token });
      const page = body as { items: AlertItem[]; nextCursor: string | null };
      subjects.push(...page.items.map(({ subject }) => subject));
      cursor = page.nextCursor === null ? "" : `&cursor=${page.nextCursor}`;
    } while (cursor !== "");
    expect(subjects).toEqual(["m4", "m3", "m2", "m1", "m0"]);
  });

  test("is filtered by kind and state, and refuses what is neither", async () => {
    expect(await ask("?kind=overage&state=open")).toHaveLength(5);
    expect(await ask("?kind=ledger_drift")).toEqual([]);
    expect(await ask("?state=resolved")).toEqual([]);
    const api = openManagement(database.sql);
    for (const query of ["?kind=nonsense", "?state=closed", "?cursor=eA"]) {
      expect((await api.call("GET", `/alerts${query}`, { token })).status).toBe(400);
    }
  });
});

test("the database knows the same kinds as the program", async () => {
  const [row] = await database.sql<[{ text: string }]>`
    select pg_get_constraintdef(oid) as text from pg_constraint where conname = 'alerts_kind'
  `;
  const kinds = [...row.text.matchAll(/'(\w+)'/g)].map((match) => match[1] ?? "");
  expect(kinds.sort()).toEqual([...ALERT_KINDS].sort());
});
