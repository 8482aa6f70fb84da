/** What a pooler in transaction mode takes and keeps, statement by statement. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { connect } from "../src/database/client.ts";
import { connectEitherWay, findAddress } from "../src/database/pooler.ts";
import { inTransaction } from "../src/database/transaction.ts";
import { findPgBouncer, startPooler, type TestPooler } from "./pgbouncer.ts";
import { emptyDatabase, type TestDatabase } from "./postgres.ts";
import { openTcpProxy } from "./tcp-proxy.ts";

const OPTIONS = { connectionsMax: 4, applicationName: "test pooled", statementTimeoutMs: 3_000 };

test("a plain proxy in front of PostgreSQL is no pooler", async () => {
  const database = await emptyDatabase();
  const proxy = await openTcpProxy(database.url);
  expect(await findAddress(proxy.url)).toEqual({ url: proxy.url, route: "direct" });
  await proxy.stop();
  await database.drop();
});

describe.skipIf(findPgBouncer() === undefined).each([1, 4])(
  "a pooler with %d connections",
  (poolSize) => {
    let database: TestDatabase;
    let pooler: TestPooler;

    beforeAll(async () => {
      database = await emptyDatabase();
      pooler = await startPooler(database.url, poolSize);
    });

    afterAll(async () => {
      await pooler.stop();
      await database.drop();
    });

    test("is told from PostgreSQL itself", async () => {
      expect((await findAddress(pooler.url)).route).toBe("pooler");
      expect((await findAddress(database.url)).route).toBe("direct");
    });

    test("does not take what a connection of our own starts with", async () => {
      const sql = connect(pooler.url, OPTIONS);
      const refusal = await sql`select 1`.catch((error: unknown) => error);
      await sql.end({ timeout: 0 });
      expect(String(refusal)).toContain("unsupported startup parameter");
    });

    test("gives each statement and each transaction its limits, and keeps none", async () => {
      const sql = await connectEitherWay(pooler.url, OPTIONS);
      const [alone] = await sql`select current_setting('statement_timeout') as limit`;
      const [within] = await inTransaction(
        sql,
        async (transaction) => await transaction`select current_setting('lock_timeout') as limit`,
      );
      const [kept] = await sql.unsafe("select current_setting('statement_timeout') as limit");
      await sql.end();
      expect([alone, within, kept]).toEqual([{ limit: "3s" }, { limit: "2s" }, { limit: "0" }]);
    });

    test("ends a statement that takes too long, and serves the next one", async () => {
      const sql = await connectEitherWay(pooler.url, { ...OPTIONS, statementTimeoutMs: 50 });
      const refusal = await sql`select pg_sleep(5)`.catch((error: unknown) => error);
      expect(refusal).toMatchObject({ code: "57014" });
      expect([...(await sql`select ${1}::int as one`)]).toEqual([{ one: 1 }]);
      await sql.end();
    });

    test("serves statements made of parts, at once and with values of every kind", async () => {
      const sql = await connectEitherWay(pooler.url, OPTIONS);
      const part = (value: bigint) => sql`${value}::bigint + 1`;
      const rows = await Promise.all(
        Array.from({ length: 50 }, async (_, index) => {
          const names = ["a", "b"];
          const [row] = await sql`
          select
            ${part(BigInt(index))} as sum, ${names}::text[] as names, ${sql.json({ a: 1 })} as json,
            ${new Date(0)}::timestamptz as at, ${null}::text as none
        `;
          return row;
        }),
      );
      await sql.end();
      expect(rows.map((row) => row?.["sum"] as bigint)).toEqual(
        Array.from({ length: 50 }, (_, index) => BigInt(index) + 1n),
      );
      expect(rows[7]).toMatchObject({
        names: ["a", "b"],
        json: { a: 1 },
        none: null,
        at: new Date(0),
      });
    });

    test("keeps nothing of a statement that fails", async () => {
      const sql = await connectEitherWay(pooler.url, OPTIONS);
      await sql`create table kept (value int constraint kept_positive check (value > 0))`;
      const refusal = await sql`insert into kept values (${-1})`.catch((error: unknown) => error);
      await sql`insert into kept values (${1})`;
      const rows = [...(await sql`select value from kept`)];
      await sql.end();
      expect(refusal).toMatchObject({ code: "23514", constraint_name: "kept_positive" });
      expect(rows).toEqual([{ value: 1 }]);
    });
  },
);
