/**
 * Two nodes on one database that know no more of it than a PgBouncer in transaction mode, with
 * fewer connections than they have between them: every promise about money holds all the same.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Finding } from "../src/cli/doctor-check.ts";
import { type GatedProvider, gateProvider } from "./gated-provider.ts";
import { foundCompany, nodeEnvironment, runSpendra, startNode, type TestNode } from "./node.ts";
import { postChat, readBooks } from "./node-calls.ts";
import { findPgBouncer, startPooler, type TestPooler } from "./pgbouncer.ts";
import { emptyDatabase, type TestDatabase, testDatabase } from "./postgres.ts";
import { openTcpProxy } from "./tcp-proxy.ts";
import { waitUntil } from "./wait-until.ts";

const CALLS = 200;
const ROOM = 77n;
const POOL_SIZE = 3;
const REVOKED_MAX_MS = 2_000;
/** 10 and 5 tokens of gpt-4o-mini, as the gated provider reports them. */
const COST_NANO_USD = 10n * 150n + 5n * 600n;
/** Of the default size of a call of `postChat`. */
const BODY = JSON.stringify({
  model: "gpt-4o-mini",
  max_tokens: 100,
  messages: [{ role: "user", content: "hello" }],
});
const HELD_NANO_USD = BigInt(BODY.length) * 150n + 100n * 600n;

const isMissing = findPgBouncer() === undefined;
const supported = [15, 18] as const;

describe.skipIf(isMissing).each(supported)(
  "two nodes through PgBouncer on PostgreSQL %d",
  (version) => {
    let database: TestDatabase;
    let pooler: TestPooler;
    let provider: GatedProvider;
    let nodes: [TestNode, TestNode];
    let token: string;

    beforeAll(async () => {
      database = await testDatabase({ version });
      pooler = await startPooler(database.url, POOL_SIZE);
      provider = gateProvider();
      ({ token } = await foundCompany(database.sql, provider.baseUrl));
      nodes = await Promise.all([startNode(pooler.url), startNode(pooler.url)]);
    });

    afterAll(async () => {
      provider.open();
      const codes = await Promise.all(nodes.map((node) => node.stop()));
      await pooler.stop();
      await provider.stop();
      await database.drop();
      expect(codes).toEqual([0, 0]);
    });

    test("let through exactly the calls that fit, and book each once", async () => {
      await database.sql`
        update budgets set amount_nano_usd = ${ROOM * HELD_NANO_USD + HELD_NANO_USD - 1n}
        where scope_kind = 'organization'
      `;
      const answers = Array.from({ length: CALLS }, async (_, call) => {
        const response = await postChat(nodes[call % 2 === 0 ? 0 : 1], token);
        await response.arrayBuffer();
        return response.status;
      });
      await waitUntil("all are decided", async () => {
        const [row] = await database.sql`
          select
            (select count(*)::int from reservations) + (
              select count(*)::int from gateway_requests where policy_result = 'budget_exceeded'
            ) as decided
        `;
        return row?.["decided"] === CALLS;
      });
      provider.open();
      const statuses = await Promise.all(answers);
      expect(statuses.filter((status) => status === 200).length).toBe(Number(ROOM));
      expect(statuses.filter((status) => status === 402).length).toBe(CALLS - Number(ROOM));
      expect(provider.count()).toBe(Number(ROOM));
      expect(await readBooks(database)).toMatchObject({
        entries: Number(ROOM),
        events: Number(ROOM),
        held: 0,
        heldNanoUsd: 0n,
        bookedNanoUsd: ROOM * COST_NANO_USD,
      });
    });

    test("hear within two seconds that a key is revoked", async () => {
      for (const node of nodes) {
        expect((await askModels(node, token)).status).toBe(200);
      }
      await database.sql`update api_keys set revoked_at = now()`;
      const revokedMs = performance.now();
      expect((await postChat(nodes[1], token)).status).toBe(401);
      for (const node of nodes) {
        await waitUntil("it is refused", async () => (await askModels(node, token)).status === 401);
      }
      expect(performance.now() - revokedMs).toBeLessThan(REVOKED_MAX_MS);
      await database.sql`update api_keys set revoked_at = null`;
      for (const node of nodes) {
        await waitUntil("it is let in", async () => (await askModels(node, token)).status === 200);
      }
    });

    test("neither listen nor leave a setting behind on what they are lent", async () => {
      const rows = await database.sql`
        select query from pg_stat_activity
        where datname = current_database() and query ilike 'listen%'
      `;
      expect([...rows]).toEqual([]);
    });

    test("book what runs while PgBouncer is killed, refuse what is new, and go on", async () => {
      const second = gateProvider();
      await database.sql`update budgets set amount_nano_usd = 10000000000`;
      await database.sql`
        update provider_accounts set base_url = ${second.baseUrl}
      `;
      const before = await readBooks(database);
      const running = nodes.flatMap((node) => [1, 2, 3, 4, 5].map(() => postChat(node, token)));
      await waitUntil("the provider is asked", () => second.count() === running.length);
      await pooler.kill();
      second.open();
      for (const answer of running) {
        expect((await answer).status).toBe(200);
      }
      for (const node of nodes) {
        const refusal = await postChat(node, token);
        expect(refusal.status).toBe(503);
        expect(await refusal.json()).toMatchObject({ error: { code: "reservation_unavailable" } });
      }
      await pooler.restart();
      for (const node of nodes) {
        await waitUntil("calls go through", async () => (await postChat(node, token)).ok);
        await waitUntil("it is ready", async () => (await fetch(`${node.url}/ready`)).ok);
      }
      await waitUntil("nothing is held", async () => (await readBooks(database)).held === 0);
      const after = await readBooks(database);
      expect(after.entries - before.entries).toBe(second.count());
      expect(after.heldNanoUsd).toBe(0n);
      expect(after.expired).toBe(0);
      await second.stop();
    }, 60_000);

    test("leave books that are proven, through PgBouncer as well", async () => {
      const verified = await runSpendra(["ledger", "verify", "--json"], {
        environment: { DATABASE_URL: pooler.url },
      });
      expect(JSON.parse(verified.stdout)).toMatchObject({ isClean: true, differences: [] });
      expect(verified.code).toBe(0);
    });
  },
);

describe.skipIf(isMissing).each(["cut", "stall"] as const)(
  "while PgBouncer's own way to PostgreSQL is %s",
  (fault) => {
    test("what runs is booked once, what is new is refused, and nothing stays held", async () => {
      const database = await testDatabase();
      const proxy = await openTcpProxy(database.url);
      const pooler = await startPooler(proxy.url, POOL_SIZE);
      const provider = gateProvider();
      const { token } = await foundCompany(database.sql, provider.baseUrl);
      const node = await startNode(pooler.url);
      const running = Array.from({ length: 10 }, () => postChat(node, token));
      await waitUntil("the provider is asked", () => provider.count() === running.length);
      await (fault === "cut" ? proxy.cut() : proxy.stall());
      provider.open();
      const statuses = (await Promise.all(running)).map(({ status }) => status);
      const refusals = [1, 2, 3].map(async () => (await postChat(node, token)).status);
      const refused = await Promise.all(refusals);
      await proxy.restore();
      await waitUntil("calls go through", async () => (await postChat(node, token)).ok);
      await waitUntil("nothing is held", async () => (await readBooks(database)).held === 0);
      const books = await readBooks(database);
      const code = await node.stop();
      await pooler.stop();
      await proxy.stop();
      await provider.stop();
      await database.drop();
      expect(statuses).toEqual(running.map(() => 200));
      expect(refused).toEqual([503, 503, 503]);
      expect(books).toMatchObject({ heldNanoUsd: 0n, expired: 0, entries: provider.count() });
      expect(books.bookedNanoUsd).toBe(BigInt(provider.count()) * COST_NANO_USD);
      expect(code).toBe(0);
    }, 40_000);
  },
);

describe.skipIf(isMissing)("an empty database behind PgBouncer", () => {
  test("is migrated once by two who start together, and then served", async () => {
    const database = await emptyDatabase();
    const pooler = await startPooler(database.url, POOL_SIZE);
    const environment = { DATABASE_URL: pooler.url };
    const runs = await Promise.all([1, 2].map(() => runSpendra(["migrate"], { environment })));
    const [row] = await database.sql`select count(*)::int as count from schema_migrations`;
    const applied = runs.map(({ stdout }) => stdout.match(/^applied /gm)?.length ?? 0);
    const node = await startNode(pooler.url);
    expect(await node.stop()).toBe(0);
    await pooler.stop();
    await database.drop();
    expect(runs.map(({ code }) => code)).toEqual([0, 0]);
    expect(applied.reduce((sum, count) => sum + count, 0)).toBe(Number(row?.["count"]));
  });
});

describe.skipIf(isMissing)("with a direct address beside PgBouncer's", () => {
  let database: TestDatabase;
  let pooler: TestPooler;

  beforeAll(async () => {
    database = await testDatabase();
    pooler = await startPooler(database.url, POOL_SIZE);
  });

  afterAll(async () => {
    await pooler.stop();
    await database.drop();
  });

  test("the node listens there, and writes there while PgBouncer is away", async () => {
    const provider = gateProvider();
    const { token } = await foundCompany(database.sql, provider.baseUrl);
    const node = await startNode(pooler.url, {
      environment: { DATABASE_DIRECT_URL: database.url },
    });
    const listening = await database.sql`
      select from pg_stat_activity
      where datname = current_database() and query ilike 'listen%'
    `;
    const answer = postChat(node, token);
    await waitUntil("the provider is asked", () => provider.count() === 1);
    await pooler.kill();
    provider.open();
    expect((await answer).status).toBe(200);
    await waitUntil("it is booked", async () => (await readBooks(database)).entries === 1);
    await pooler.restart();
    expect(await node.stop()).toBe(0);
    await provider.stop();
    expect(listening.length).toBe(1);
  });

  test("the direct address of another database is refused, with a sentence", async () => {
    const other = await testDatabase();
    const environment = {
      ...nodeEnvironment(pooler.url, "/nonexistent"),
      DATABASE_DIRECT_URL: other.url,
    };
    const { code, stderr } = await runSpendra(["serve"], { environment });
    await other.drop();
    expect(stderr).toContain("DATABASE_URL and DATABASE_DIRECT_URL are not the same database");
    expect(code).toBe(1);
  });

  test("the doctor says which way is taken, and warns where none is direct", async () => {
    const environment = nodeEnvironment(pooler.url, "/nonexistent");
    const routeOf = async (directUrl: string): Promise<string> => {
      const { stdout } = await runSpendra(["doctor", "--json"], {
        environment: { ...environment, DATABASE_DIRECT_URL: directUrl },
      });
      const { findings } = JSON.parse(stdout) as { findings: Finding[] };
      const failed = findings.filter(({ status }) => status === "fail").map(({ check }) => check);
      expect(failed.filter((check) => check !== "state directory")).toEqual([]);
      const route = findings.find(({ check }) => check === "route");
      return `${route?.status}: ${route?.message}`;
    };
    const { host } = new URL(database.url);
    expect(await routeOf("")).toStartWith("warn: through a pooler");
    expect(await routeOf(database.url)).toStartWith(
      `ok: through a pooler; writer and migrations directly to ${host}/`,
    );
    expect(await routeOf(pooler.url)).toStartWith(
      "warn: DATABASE_DIRECT_URL goes through a pooler",
    );
  });

  test("spendra migrate needs only that", async () => {
    const { code, stdout } = await runSpendra(["migrate", "--verify"], {
      environment: { DATABASE_DIRECT_URL: database.url },
    });
    expect(stdout).toContain("the database is at this build's schema");
    expect(code).toBe(0);
  });
});

async function askModels(node: TestNode, token: string): Promise<Response> {
  return await fetch(`${node.url}/v1/models`, { headers: { authorization: `Bearer ${token}` } });
}
