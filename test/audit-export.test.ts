/** The audit log as a file: whole, harmless in a spreadsheet, and never whole in memory. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { connect as openSocket, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { changeByInstallation } from "../src/audit/audit-event.ts";
import { csvLine } from "../src/audit/csv.ts";
import { exportAuditLog } from "../src/cli/audit-export-file.ts";
import { connect, type Sql } from "../src/database/client.ts";
import { createTeam } from "../src/organizations/team.ts";
import { addMember, type Company, foundCompany, openManagement } from "./acme.ts";
import { runSpendra } from "./node.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";
import { waitUntil } from "./wait-until.ts";

const EVENTS = 50_000;
/** Each some 4 kB, so that all of them are 200 MB. */
const FACT_CHARACTERS = 2_000;
const API_NAME = "test-api";
const MEGABYTE = 1024 * 1024;
/** Less than the file; what is collected grows to some 100 MB, however long the log is. */
const GROWTH_MAX = 150 * MEGABYTE;

let database: TestDatabase;
let pool: Sql;
let api: ReturnType<typeof openManagement>;
let acme: Company;
let globex: Company;
let token: string;
let directory: string;
let server: Bun.Server<undefined>;

beforeAll(async () => {
  database = await testDatabase();
  pool = connect(database.url, { connectionsMax: 2, applicationName: API_NAME });
  api = openManagement(pool);
  const { now } = api.time;
  acme = await foundCompany(database.sql, "Acme", now);
  globex = await foundCompany(database.sql, "Globex", now);
  ({ token } = await addMember(database.sql, {
    organizationId: acme.organizationId,
    role: "auditor",
    now,
  }));
  api.time.now = new Date(now.getTime() + 1_000);
  directory = await mkdtemp(join(tmpdir(), "spendra-audit-"));
  server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: (request) => api.management.handle(request, "192.0.2.1"),
  });
});
afterAll(async () => {
  await server.stop(true);
  await pool.end();
  await rm(directory, { recursive: true, force: true });
  await database.drop();
});

async function download(query: string): Promise<Response> {
  return await fetch(`${server.url.origin}/management/audit/export?${query}`, {
    headers: { cookie: `spendra_session=${token}` },
  });
}

async function linesOf(response: Response): Promise<Record<string, unknown>[]> {
  const text = await response.text();
  expect(text.endsWith("\n")).toBe(true);
  return text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

async function countOf({ organizationId }: Company): Promise<number> {
  const [row] = await database.sql<[{ count: bigint }]>`
    select count(*) from audit_log where organization_id = ${organizationId}
  `;
  return Number(row.count);
}

/** Reads CSV as RFC 4180 has it. */
function readCsv(text: string): string[][] {
  const rows: string[][] = [];
  let row: string[] = [];
  for (const [, quoted, plain = "", end] of text.matchAll(
    /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/g,
  )) {
    row.push(quoted?.replaceAll('""', '"') ?? plain);
    if (end !== ",") {
      rows.push(row);
      row = [];
    }
  }
  return rows;
}

/** Reads an export in a process of its own, whose memory is not measured. */
const READER = `
  const { URL: url, COOKIE: cookie, OWNER: owner } = process.env;
  const found = { events: 0, bytes: 0, isInOrder: true, rest: "" };
  const decoder = new TextDecoder();
  let previous = "";
  for await (const chunk of (await fetch(url, { headers: { cookie } })).body) {
    found.bytes += chunk.byteLength;
    const lines = (found.rest + decoder.decode(chunk, { stream: true })).split("\\n");
    found.rest = lines.pop();
    for (const line of lines) {
      const { id, organizationId } = JSON.parse(line);
      found.isInOrder &&= id > previous && organizationId === owner;
      previous = id;
      found.events += 1;
    }
  }
  console.log(JSON.stringify(found));
`;

describe("a small log", () => {
  test("is one JSON object a line, as the list has them, oldest first", async () => {
    const response = await download("format=jsonl");
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe("application/x-ndjson");
    expect(response.headers.get("content-disposition")).toBe(
      `attachment; filename="audit-${acme.organizationId}.jsonl"`,
    );
    const lines = await linesOf(response);
    const { body } = await api.call("GET", "/audit?limit=200", { token });
    expect(lines.toReversed()).toEqual((body as { items: Record<string, unknown>[] }).items);
    expect(lines).toHaveLength(await countOf(acme));
  });

  test("has no row of another organization, whatever is asked for", async () => {
    for (const query of [
      "format=jsonl",
      `subjectId=${globex.teamId}`,
      "from=2000-01-01T00:00:00Z&to=2100-01-01T00:00:00Z",
    ]) {
      const text = await (await download(query)).text();
      expect(text).not.toContain(globex.organizationId);
      expect(text).not.toContain(globex.teamId);
    }
    const named = await download(`organizationId=${globex.organizationId}`);
    expect(named.status).toBe(400);
    await named.body?.cancel();
  });

  test("is CSV with the same content, and no cell begins a formula", async () => {
    const names = ["=1+1", "+1", "-1", "@x", "\t=1", " =1", "＝1", 'say "hi"; =1', "a,b", "Ä\n=1"];
    await database.sql.begin(async (transaction) => {
      for (const name of names) {
        const { organizationId } = acme;
        const change = { ...changeByInstallation(api.time.now), userAgent: name };
        await createTeam(transaction, { organizationId, name: "T" }, change);
      }
    });
    api.time.now = new Date(api.time.now.getTime() + 1);
    const response = await download("format=csv&action=team.create");
    expect(response.headers.get("content-type")).toBe("text/csv; charset=utf-8");
    const [heading = [], ...rows] = readCsv(await response.text());
    expect(heading).toContain("userAgent");
    expect(rows.every((row) => row.length === heading.length)).toBe(true);
    const cellsOf = (name: string) => rows.map((row) => row[heading.indexOf(name)] ?? "");
    const dangerous = rows.flat().filter((cell) => /^\s*[=+\-@＝＋－＠]/.test(cell));
    expect(dangerous).toEqual([]);
    const printable = names.map((name) => name.replaceAll(/[\t\n]/g, " "));
    const agents = cellsOf("userAgent").map((cell) => cell.replace(/^'/, ""));
    expect(agents.filter((cell) => cell !== "").sort()).toEqual(printable.sort());
    for (const after of cellsOf("after")) {
      expect(JSON.parse(after)).toHaveProperty("name");
    }
  });

  test("quotes every cell, doubles quotes, and ends lines as RFC 4180 wants", () => {
    expect(csvLine(['a"b', null, "c\r\nd", "\r=1"])).toBe('"a""b",,"c\r\nd","\'\r=1"\r\n');
  });

  test("is empty where nothing was written, but for the heading", async () => {
    expect(await (await download("to=2001-01-01T00:00:00Z")).text()).toBe("");
    const csv = await (await download("format=csv&to=2001-01-01T00:00:00Z")).text();
    expect(readCsv(csv)).toHaveLength(1);
  });

  test("answers HEAD without reading anything", async () => {
    const answer = await api.call("HEAD", "/audit/export", { token });
    expect([answer.status, answer.body]).toEqual([200, null]);
  });
});

describe(`a log of ${EVENTS} events`, () => {
  beforeAll(async () => {
    const fact = "x".repeat(FACT_CHARACTERS);
    for (const { organizationId } of [acme, globex]) {
      const count = organizationId === acme.organizationId ? EVENTS : 1_000;
      await database.sql`
        insert into audit_log (
          organization_id, id, occurred_at, action, subject_kind, subject_id, before, after
        )
        select
          ${organizationId}, 'aud_' || lpad(n::text, 26, '0'),
          -- 100 events an instant: a page may end within one.
          timestamptz '2026-01-01T00:00:00Z' + (n / 100) * interval '1 second', 'team.rename',
          'team', 'tea_bulk', jsonb_build_object('name', ${fact}::text),
          jsonb_build_object('name', ${fact}::text)
        from generate_series(1, ${count}::integer) as n
      `;
    }
  }, 60_000);

  const BULK = "to=2026-06-01T00:00:00Z";

  /** Bytes that this process grew by at most, while something went on. */
  async function growthWhile(run: () => Promise<void>): Promise<number> {
    Bun.gc(true);
    const before = process.memoryUsage().rss;
    let most = before;
    const timer = setInterval(() => {
      most = Math.max(most, process.memoryUsage().rss);
    }, 20);
    await run();
    clearInterval(timer);
    return most - before;
  }

  test("comes whole, each event once, in bounded memory", async () => {
    const reader = join(directory, "reader.ts");
    await Bun.write(reader, READER);
    let read = "";
    const growth = await growthWhile(async () => {
      const child = Bun.spawn([process.execPath, reader], {
        env: {
          URL: `${server.url.origin}/management/audit/export?${BULK}`,
          COOKIE: `spendra_session=${token}`,
          OWNER: acme.organizationId,
        },
      });
      read = await new Response(child.stdout).text();
    });
    const { bytes, ...counted } = JSON.parse(read) as { bytes: number };
    expect(counted).toEqual({ events: EVENTS, isInOrder: true, rest: "" });
    expect(bytes).toBeGreaterThan(190 * MEGABYTE);
    console.log(`${bytes} bytes, grew by ${growth} bytes`);
    expect(growth).toBeLessThan(GROWTH_MAX);
  }, 60_000);

  test("waits for a caller who does not read, and holds no connection meanwhile", async () => {
    let socket: Socket | null = null;
    const growth = await growthWhile(async () => {
      socket = openSocket(Number(server.port), "127.0.0.1");
      socket.write(
        `GET /management/audit/export?${BULK} HTTP/1.1\r\nHost: 127.0.0.1\r\n` +
          `Cookie: spendra_session=${token}\r\n\r\n`,
      );
      socket.pause();
      // Nothing more is read once the buffers of the connection are full.
      await waitUntil("no page was read for a second", hasStoodStill);
    });
    expect(growth).toBeLessThan(GROWTH_MAX);
    expect(await statesOf()).not.toContain("active");
    expect(await statesOf()).not.toContain("idle in transaction");
    (socket as Socket | null)?.destroy();
  }, 60_000);

  /** Of the API's connections, which nothing else uses meanwhile. */
  async function hasStoodStill(): Promise<boolean> {
    const [row] = await database.sql<[{ is_still: boolean | null }]>`
      select clock_timestamp() - max(query_start) > interval '1 second' as is_still
      from pg_stat_activity
      where datname = current_database() and application_name = ${API_NAME}
    `;
    return row.is_still === true;
  }

  async function statesOf(): Promise<readonly string[]> {
    const rows = await database.sql<{ state: string }[]>`
      select state from pg_stat_activity
      where datname = current_database() and application_name = ${API_NAME}
    `;
    return rows.map(({ state }) => state);
  }

  test("is written into a file in bounded memory", async () => {
    const output = join(directory, "acme.jsonl");
    const growth = await growthWhile(async () => {
      await exportAuditLog(database.sql, {
        organizationId: acme.organizationId,
        format: "jsonl",
        output,
        from: null,
        to: new Date("2026-06-01T00:00:00Z"),
      });
    });
    const file = await stat(output);
    expect(file.size).toBeGreaterThan(190 * MEGABYTE);
    expect(file.mode & 0o777).toBe(0o600);
    console.log(`${file.size} bytes, grew by ${growth} bytes`);
    expect(growth).toBeLessThan(GROWTH_MAX);
  }, 60_000);
});

describe("`spendra audit export`", () => {
  const exportTo = async (output: string, ...args: string[]) =>
    await runSpendra(["audit", "export", "--output", output, ...args], {
      environment: { DATABASE_URL: database.url },
    });
  const since = ["--from", "2026-06-01T00:00:00Z"];

  test("writes all organizations, or one, as CSV or JSON lines", async () => {
    const all = await exportTo("-", "--format", "jsonl", ...since);
    expect(all).toMatchObject({ code: 0, stderr: "" });
    const owners = all.stdout
      .trimEnd()
      .split("\n")
      .map((line) => (JSON.parse(line) as { organizationId: string }).organizationId);
    expect(new Set(owners)).toEqual(new Set([acme.organizationId, globex.organizationId]));
    const { organizationId } = globex;
    const one = await exportTo("-", "--format", "csv", "--organization", organizationId, ...since);
    expect(one.code).toBe(0);
    const [heading = [], ...rows] = readCsv(one.stdout);
    const column = heading.indexOf("organizationId");
    expect(new Set(rows.map((row) => row[column]))).toEqual(new Set([organizationId]));
    expect(rows).toHaveLength((await countOf(globex)) - 1_000);
  });

  test("never overwrites a file", async () => {
    const path = join(directory, "kept.csv");
    await Bun.write(path, "mine");
    expect(await exportTo(path, "--format", "csv", ...since)).toMatchObject({ code: 2 });
    expect(await Bun.file(path).text()).toBe("mine");
  });

  test.each([
    [["--format", "xml"]],
    [[]],
    [["--format", "csv", "--from", "yesterday"]],
    [["--format", "csv", "--from", "2026-02-01T00:00:00Z", "--to", "2026-01-01T00:00:00Z"]],
    [["--format", "csv", "--organization", "org_unknown"]],
    [["--format", "csv", "--everything"]],
  ])("refuses %j with exit code 2 and writes nothing", async (args) => {
    const path = join(directory, "never.csv");
    const { code, stdout } = await exportTo(path, ...args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(await Bun.file(path).exists()).toBe(false);
  });
});
