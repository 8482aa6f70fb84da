/** `spendra demo` as a visitor meets it: the real command, a real client, a real PostgreSQL. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmod, copyFile, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import OpenAI from "openai";
import { probePort } from "../src/cli/listen-port.ts";
import { startProviderSimulator } from "../src/cli/provider-simulator.ts";
import { connect } from "../src/database/client.ts";
import { formatUsd } from "../src/money.ts";
import { builtExecutable } from "./executable.ts";
import { emptyDatabase, type TestDatabase } from "./postgres.ts";
import { type SpawnedSpendra, spawnSpendra } from "./spawned-spendra.ts";

const BUILD_TIMEOUT_MS = 120_000;

type DemoLine = Record<
  | "baseUrl"
  | "apiKey"
  | "dashboardUrl"
  | "docsUrl"
  | "adminEmail"
  | "adminPassword"
  | "databaseUrl"
  | "requestId"
  | "reservationId"
  | "ledgerEntryId"
  | "costUsd",
  string
>;

/** Where keys are kept and temporary files go; nothing may be left in `temporary`. */
let directory: string;
let temporary: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "spendra-demo-test-"));
  temporary = await mkdtemp(join(directory, "tmp-"));
  // PostgreSQL runs as another account under root.
  await chmod(directory, 0o755);
  await chmod(temporary, 0o777);
});

afterAll(() => rm(directory, { recursive: true, force: true }));

function startDemo(
  flags: readonly string[],
  environment: Record<string, string>,
  command?: { program: readonly string[]; directory: string },
): SpawnedSpendra {
  const own = { XDG_STATE_HOME: directory, TMPDIR: temporary };
  return spawnSpendra(["demo", ...flags], { PORT: "0", ...own, ...environment }, command);
}

async function readLine(demo: SpawnedSpendra): Promise<DemoLine> {
  await demo.saying("stdout", /\n/);
  return JSON.parse(demo.stdout()) as DemoLine;
}

function matching(pattern: RegExp): string {
  return expect.stringMatching(pattern) as string;
}

async function freePort(): Promise<number> {
  return (await probePort("127.0.0.1", 0)).port;
}

describe("on a database that is given", () => {
  let database: TestDatabase;
  let demo: SpawnedSpendra;
  let line: DemoLine;
  let port: number;

  beforeAll(async () => {
    database = await emptyDatabase();
    port = await freePort();
    demo = startDemo(["--json"], { DATABASE_URL: database.url, PORT: `${port}` });
    line = await readLine(demo);
  });

  afterAll(() => database.drop());

  test("the line says where everything is", () => {
    const origin = `http://127.0.0.1:${port}`;
    expect(line).toEqual({
      baseUrl: `${origin}/v1`,
      apiKey: matching(/^spk_test_/),
      dashboardUrl: `${origin}/`,
      docsUrl: `${origin}/docs`,
      adminEmail: "admin@acme.example",
      adminPassword: matching(/^.{20,}$/),
      databaseUrl: database.url,
      requestId: matching(/^req_/),
      reservationId: matching(/^rsv_/),
      ledgerEntryId: matching(/^ent_/),
      costUsd: matching(/^0\.0\d+$/),
    });
  });

  test("the line agrees with the rows of the call", async () => {
    const rows = await database.sql<Record<string, unknown>[]>`
      select r.request_id, r.status, r.cost_nano_usd, e.id, e.amount_nano_usd, g.is_streaming
      from reservations r
      join ledger_entries e on e.reservation_id = r.id
      join gateway_requests g on g.id = r.request_id
      where r.id = ${line.reservationId}
    `;
    expect(rows).toHaveLength(1);
    const [row] = rows;
    expect(row).toMatchObject({
      request_id: line.requestId,
      status: "settled",
      id: line.ledgerEntryId,
      is_streaming: true,
    });
    expect(row?.["cost_nano_usd"]).toBe(row?.["amount_nano_usd"]);
    expect(formatUsd(row?.["amount_nano_usd"] as bigint)).toBe(line.costUsd);
    const [held] = await database.sql`select sum(held_nano_usd)::text as total from budget_windows`;
    expect(held?.["total"]).toBe("0");
  });

  test("the key and the address work in OpenAI's client", async () => {
    const client = new OpenAI({ baseURL: line.baseUrl, apiKey: line.apiKey, maxRetries: 0 });
    const answer = await client.chat.completions.create({
      model: "gpt-4o",
      messages: [{ role: "user", content: "Once more" }],
      max_completion_tokens: 10,
    });
    expect(answer.usage?.completion_tokens).toBe(10);
    const [row] = await database.sql`select count(*)::int as count from ledger_entries`;
    expect(row?.["count"]).toBe(2);
  });

  test("dashboard, Swagger UI and login answer", async () => {
    expect((await fetch(line.dashboardUrl)).status).toBe(200);
    expect((await fetch(line.docsUrl)).status).toBe(200);
    const session = await fetch(new URL("/management/session", line.dashboardUrl), {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ email: line.adminEmail, password: line.adminPassword }),
    });
    expect(session.ok).toBe(true);
  });

  test("SIGTERM ends it with 0, and nothing is left", async () => {
    demo.kill("SIGTERM");
    expect(await demo.exited).toBe(0);
    expect(demo.stdout().split("\n")).toEqual([JSON.stringify(line), ""]);
    expect((await probePort("127.0.0.1", port)).state).toBe("free");
    expect(await readdir(temporary)).toEqual([]);
  });

  test("a second run founds another Acme under the kept key", async () => {
    const again = startDemo(["--json", "--once"], { DATABASE_URL: database.url });
    expect(await again.exited).toBe(0);
    const second = await readLine(again);
    expect(second.adminEmail).toMatch(/^admin-\w+@acme\.example$/);
    expect(again.stderr()).toContain("had an Acme already");
    expect(second.ledgerEntryId).not.toBe(line.ledgerEntryId);
  });

  test("a run that does not know the key says so and changes nothing", async () => {
    const stranger = { DATABASE_URL: database.url, XDG_STATE_HOME: temporary };
    const lost = startDemo(["--once"], stranger);
    expect(await lost.exited).toBe(1);
    expect(lost.stderr()).toContain("Set SPENDRA_ENCRYPTION_KEY to that key");
    const wrong = startDemo(["--once"], { ...stranger, SPENDRA_ENCRYPTION_KEY: "x".repeat(32) });
    expect(await wrong.exited).toBe(1);
    expect(wrong.stderr()).toContain("Nothing was changed");
    const [row] = await database.sql`select count(*)::int as count from organizations`;
    expect(row?.["count"]).toBe(2);
  });

  test(
    "the executable alone does the same from an empty directory",
    async () => {
      const empty = await mkdtemp(join(directory, "empty-"));
      const program = join(empty, "spendra");
      await copyFile(await builtExecutable(), program);
      const compiled = startDemo(
        ["--json", "--once"],
        { DATABASE_URL: database.url },
        { program: [program], directory: empty },
      );
      expect({ exitCode: await compiled.exited, stderr: compiled.stderr() }).toMatchObject({
        exitCode: 0,
      });
      expect((await readLine(compiled)).costUsd).toBe(line.costUsd);
    },
    BUILD_TIMEOUT_MS,
  );
});

describe("with a PostgreSQL of its own", () => {
  test("shows the call, serves, and leaves nothing behind after Ctrl-C", async () => {
    // A proxy that is not there: what runs on this machine is called directly.
    const demo = startDemo(["--json"], { HTTP_PROXY: "http://127.0.0.1:9" });
    const { databaseUrl } = await readLine(demo);
    demo.kill("SIGINT");
    expect(await demo.exited).toBe(0);
    const sql = connect(databaseUrl, { connectionsMax: 1, applicationName: "test-demo-end" });
    const refusal: unknown = await sql`select`.catch((error: unknown) => error);
    expect(refusal).toMatchObject({ code: "ECONNREFUSED" });
    await sql.end();
    expect(await readdir(temporary)).toEqual([]);
  });

  test("tells a person what was asked, reserved, spent and booked", async () => {
    const demo = startDemo(["--once"], {});
    expect(await demo.exited).toBe(0);
    const report = demo.stdout();
    for (const word of ["Asked", "Answered", "Reserved", "Spent", "Given back", "Left"]) {
      expect(report).toContain(`  ${word}`);
    }
    expect(report).toMatch(/Ledger entry {2}ent_\w{26} {2}\$0\.0\d+/);
    expect(report).not.toContain("\u001b");
    expect(demo.stderr()).toMatch(/✓ PostgreSQL \d+, private and temporary/);
  });

  test("stopped while it starts, it leaves nothing behind and says so", async () => {
    const demo = startDemo([], {});
    await demo.saying("stderr", /✓ PostgreSQL/);
    demo.kill("SIGTERM");
    expect(await demo.exited).toBe(1);
    expect(demo.stderr()).toContain("stopped before it was ready");
    expect(await readdir(temporary)).toEqual([]);
  });
});

describe("with a key of OpenAI", () => {
  test("calls OpenAI itself, and says how to mend a refusal", async () => {
    const openAi = startProviderSimulator({ apiKey: "sk-of-the-visitor" });
    const database = await emptyDatabase();
    const environment = { DATABASE_URL: database.url, OPENAI_BASE_URL: openAi.baseUrl };
    try {
      const right = { ...environment, OPENAI_API_KEY: "sk-of-the-visitor" };
      const demo = startDemo(["--once"], right);
      expect({ exitCode: await demo.exited, stderr: demo.stderr() }).toMatchObject({ exitCode: 0 });
      expect(demo.stdout()).toContain("gpt-4o-mini, OpenAI");
      expect(openAi.requestCount).toBe(1);

      const refused = startDemo(["--once"], { ...environment, OPENAI_API_KEY: "sk-mistyped" });
      expect(await refused.exited).toBe(1);
      expect(refused.stderr()).toContain("Correct OPENAI_API_KEY");
      expect(refused.stdout() + refused.stderr()).not.toContain("sk-mistyped");
    } finally {
      await openAi.stop();
      await database.drop();
    }
  });
});

describe("wrong circumstances", () => {
  test("a taken port is named before anything is started", async () => {
    const taken = startProviderSimulator();
    const { port } = new URL(taken.baseUrl);
    const demo = startDemo([], { PORT: port });
    expect(await demo.exited).toBe(1);
    expect(demo.stderr()).toContain(`port ${port} is taken`);
    expect(demo.stderr()).toContain("PORT=");
    expect(demo.stderr()).not.toContain("PostgreSQL");
    await taken.stop();
  });

  test("all wrong settings are named at once", async () => {
    const wrong = { PORT: "eighty", DATABASE_URL: "mysql://x", OPENAI_BASE_URL: "openai" };
    const demo = startDemo([], wrong);
    expect(await demo.exited).toBe(1);
    for (const name of Object.keys(wrong)) {
      expect(demo.stderr()).toContain(name);
    }
  });

  test("a database that does not answer is named without its password", async () => {
    const demo = startDemo(["--once"], { DATABASE_URL: "postgres://ada:geheim@127.0.0.1:1/x" });
    expect(await demo.exited).toBe(1);
    expect(demo.stderr()).toContain("127.0.0.1:1/x");
    expect(demo.stderr()).toContain("start PostgreSQL");
    expect(demo.stdout() + demo.stderr()).not.toContain("geheim");
  });

  test.each([["--jsn"], ["serve"]])("%s is wrong usage", async (flag) => {
    const demo = startDemo([flag], {});
    expect(await demo.exited).toBe(2);
    expect(demo.stderr()).toContain("--help");
  });
});
