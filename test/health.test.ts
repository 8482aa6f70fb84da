/** What the outside may ask of a node's health, and what it is told when something is broken. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../src/clock.ts";
import { build } from "../src/config.ts";
import { connect } from "../src/database/client.ts";
import { migrate } from "../src/database/migrator.ts";
import { placeCanary } from "../src/operations/encryption-canary.ts";
import { createHealth } from "../src/operations/health.ts";
import { type LocalPostgres, startLocalPostgres } from "../src/operations/local-postgres.ts";
import { Secret } from "../src/secret.ts";
import { ENCRYPTION_KEY, METRICS_TOKEN, PROVIDER_KEY, startNode, type TestNode } from "./node.ts";
import { type TestDatabase, testDatabase, testServerSettings } from "./postgres.ts";
import { openTcpProxy, type TcpProxy } from "./tcp-proxy.ts";
import { waitUntil } from "./wait-until.ts";

/** The promise is 5 ms on a machine that does nothing else; tests share theirs. */
const HEALTH_P99_MAX_MS = 50;
const READY_MAX_MS = 1_000;
const ALL_OK = {
  database: "ok",
  schema: "ok",
  encryption_key: "ok",
  price_book: "ok",
  state_directory: "ok",
  accepting: "ok",
};

type Report = { status: string; checks: Record<string, { status: string; durationMs: number }> };

describe("with PostgreSQL stopped", () => {
  let cluster: LocalPostgres;
  let node: TestNode;

  beforeAll(async () => {
    cluster = await startLocalPostgres({ version: 18, settings: testServerSettings });
    const sql = connect(cluster.url, { connectionsMax: 1, applicationName: "test" });
    await migrate(sql, { now: systemClock.now() });
    await sql.end();
    node = await startNode(cluster.url);
    expect((await readReady(node)).status).toBe(200);
    await cluster.stop();
  }, 60_000);

  afterAll(async () => {
    expect(await node.stop()).toBe(0);
    await cluster.stop();
  });

  test("/health answers a thousand times, quickly, with version, commit and uptime", async () => {
    const durations: number[] = [];
    for (let call = 0; call < 1_000; call++) {
      const startedMs = performance.now();
      const response = await fetch(`${node.url}/health`);
      const { uptimeSeconds, ...body } = (await response.json()) as Record<string, unknown>;
      durations.push(performance.now() - startedMs);
      expect(response.status).toBe(200);
      expect(body).toEqual({ status: "ok", version: build.version, commit: build.commit });
      expect(Number.isInteger(uptimeSeconds)).toBe(true);
    }
    durations.sort((a, b) => a - b);
    expect(durations[989]).toBeLessThan(HEALTH_P99_MAX_MS);
  });

  test.each(["/live", "/health/live"])("%s says that the process lives", async (path) => {
    const response = await fetch(node.url + path);
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({ status: "live" });
  });

  test.each(["/ready", "/health/ready"])("%s names the database and nothing else", async (path) => {
    const { status, statuses } = await readReady(node, path);
    expect(status).toBe(503);
    expect(statuses).toEqual({
      ...ALL_OK,
      database: "fail",
      schema: "skipped",
      encryption_key: "skipped",
    });
  });
});

describe("readiness", () => {
  let database: TestDatabase;
  let proxy: TcpProxy;
  let node: TestNode;
  let directory: string;
  let stateDirectory: string;

  beforeAll(async () => {
    database = await testDatabase();
    proxy = await openTcpProxy(database.url);
    directory = await mkdtemp(join(tmpdir(), "spendra-health-"));
    stateDirectory = join(directory, "state");
    const environment = { SPENDRA_STATE_DIR: stateDirectory };
    node = await startNode(proxy.url, { environment });
  });

  afterAll(async () => {
    expect(await node.stop()).toBe(0);
    await proxy.stop();
    await database.drop();
    await rm(directory, { recursive: true, force: true });
  });

  test("is 200 with every check by name, status and milliseconds", async () => {
    const response = await fetch(`${node.url}/ready`);
    expect(response.status).toBe(200);
    expect(response.headers.get("cache-control")).toBe("no-store");
    const { status, checks } = (await response.json()) as Report;
    expect(status).toBe("ready");
    expect(Object.keys(checks)).toEqual(Object.keys(ALL_OK));
    for (const check of Object.values(checks)) {
      expect(Object.keys(check)).toEqual(["status", "durationMs"]);
      expect(check.status).toBe("ok");
      expect(check.durationMs).toBeGreaterThanOrEqual(0);
    }
  });

  test.each(["/health", "/live", "/ready"])("%s can be asked with HEAD", async (path) => {
    const response = await fetch(node.url + path, { method: "HEAD" });
    expect(response.status).toBe(200);
  });

  test.each([
    "delete from schema_migrations where name = (select max(name) from schema_migrations)",
    "delete from schema_migrations where name = (select min(name) from schema_migrations)",
    `insert into schema_migrations (name, checksum, applied_at)
     values ('9999_future.sql', 'x', now())`,
    "update schema_migrations set checksum = 'x' where name like '0003%'",
    "alter table schema_migrations rename to mislaid",
  ])("fails for the schema alone after: %s", async (statement) => {
    await database.sql`create table kept as table schema_migrations`;
    await database.sql.unsafe(statement);
    await expectOnly({ schema: "fail" });
    await database.sql.unsafe("alter table if exists mislaid rename to schema_migrations");
    await database.sql`delete from schema_migrations`;
    await database.sql`insert into schema_migrations table kept`;
    await database.sql`drop table kept`;
    await expectOnly({});
  });

  test("fails for the encryption key alone when the canary is of another key", async () => {
    await database.sql`alter table encryption_canaries rename to kept`;
    await database.sql`create table encryption_canaries (like kept including all)`;
    await expectOnly({ encryption_key: "fail" });
    const other = new Secret("another encryption key, also longer than 32 bytes");
    await placeCanary(database.sql, other, new Date());
    await expectOnly({ encryption_key: "fail" });
    await database.sql`update encryption_canaries set ciphertext = 'damaged'`;
    await expectOnly({ encryption_key: "fail" });
    await database.sql`drop table encryption_canaries`;
    await expectOnly({ encryption_key: "fail" });
    await database.sql`alter table kept rename to encryption_canaries`;
    await expectOnly({});
  });

  test("fails for the state directory alone when nothing can be written there", async () => {
    await rm(stateDirectory, { recursive: true });
    await expectOnly({ state_directory: "fail" });
    await writeFile(stateDirectory, "a file, so that root cannot write into it either");
    await expectOnly({ state_directory: "fail" });
    await rm(stateDirectory);
    await mkdir(stateDirectory);
    await expectOnly({});
  });

  test("fails for the database alone when it refuses connections, and recovers", async () => {
    await proxy.cut();
    await expectOnly({ database: "fail", schema: "skipped", encryption_key: "skipped" });
    await proxy.restore();
    await waitUntil("the node is ready again", () => isReady());
  });

  test("answers within a second when the database hangs, and recovers", async () => {
    proxy.stall();
    for (let round = 0; round < 3; round++) {
      const startedMs = performance.now();
      const answers = Array.from({ length: 50 }, () => readReady(node));
      for (const { status, statuses } of await Promise.all(answers)) {
        expect(status).toBe(503);
        expect(statuses["database"]).toBe("fail");
        expect(statuses["accepting"]).toBe("ok");
      }
      expect(performance.now() - startedMs).toBeLessThan(READY_MAX_MS);
    }
    await proxy.restore();
    await waitUntil("the node is ready again", () => isReady());
    await expectOnly({});
  });

  test("is not told host, parts, addresses or secrets, whatever is broken", async () => {
    const texts = await readPublicHealth();
    await proxy.cut();
    texts.push(...(await readPublicHealth()));
    await proxy.restore();
    await waitUntil("the node is ready again", () => isReady());
    const { password, username, port, pathname } = new URL(database.url);
    const forbidden = [hostname(), "127.0.0.1", "localhost", port, password, username];
    forbidden.push(pathname.slice(1), "postgres", "bun", Bun.version, "elysia", "node_modules");
    forbidden.push(ENCRYPTION_KEY, METRICS_TOKEN, PROVIDER_KEY, stateDirectory, "error", "stack");
    for (const text of texts) {
      expect(forbidden.filter((word) => text.toLowerCase().includes(word.toLowerCase()))).toEqual(
        [],
      );
    }
  });

  async function expectOnly(broken: Record<string, string>): Promise<void> {
    const { status, statuses } = await readReady(node);
    expect(statuses).toEqual({ ...ALL_OK, ...broken });
    expect(status).toBe(Object.keys(broken).length === 0 ? 200 : 503);
  }

  async function isReady(): Promise<boolean> {
    return (await readReady(node)).status === 200;
  }

  /** Bodies and headers; the date says nothing of us and may hold any digits. */
  async function readPublicHealth(): Promise<string[]> {
    const paths = ["/health", "/live", "/ready", "/health/live", "/health/ready"];
    return await Promise.all(
      paths.map(async (path) => {
        const response = await fetch(node.url + path);
        const headers = [...response.headers].filter(([name]) => name !== "date");
        const body = (await response.text()).replace(/"(durationMs|uptimeSeconds)":[\d.]+/g, "");
        return `${JSON.stringify(headers)} ${body}`;
      }),
    );
  }
});

describe("liveness", () => {
  test("fails once the event loop has stood still for longer than ten seconds", async () => {
    let monotonicMs = 0;
    const clock = { now: () => new Date(0), monotonicMs: () => monotonicMs };
    const health = createHealth({ clock, build, checks: [] });
    monotonicMs = 9_999;
    expect(health.live().status).toBe(200);
    monotonicMs = 10_001;
    const response = health.live();
    expect(response.status).toBe(503);
    expect(await response.json()).toEqual({ status: "blocked" });
    expect(health.health().status).toBe(200);
    health.stop();
  });
});

async function readReady(node: TestNode, path = "/ready") {
  const response = await fetch(node.url + path);
  const { status, checks } = (await response.json()) as Report;
  expect(status).toBe(response.status === 200 ? "ready" : "not_ready");
  const statuses = Object.fromEntries(
    Object.entries(checks).map(([name, check]) => [name, check.status]),
  );
  return { status: response.status, statuses };
}
