/** Demo data never gets into a real installation by mistake (F117). */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { nodeEnvironment, runSpendra, startNode } from "./node.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";

let database: TestDatabase;

beforeAll(async () => {
  database = await testDatabase();
});

afterAll(async () => {
  await database.drop();
});

test.each([[[]], [["--demo-data"]], [["--not-production"]], [["--demo-data", "--yes"]]])(
  "flags %j are wrong usage and create nothing",
  async (flags) => {
    expect((await seed(flags)).code).toBe(2);
    expect(await organizationCount()).toBe(0n);
  },
);

test("a node that serves creates no organization by itself", async () => {
  const node = await startNode(database.url);
  expect(await node.stop()).toBe(0);
  expect(await organizationCount()).toBe(0n);
});

test("both flags create the company once, and never beside another organization", async () => {
  const first = await seed(["--demo-data", "--not-production", "--json"]);
  expect(first.stderr).toBe("");
  expect(first.code).toBe(0);
  const facts = JSON.parse(first.stdout) as Record<string, string>;
  const node = await startNode(database.url);
  const models = await fetch(`${node.url}/v1/models`, {
    headers: { authorization: `Bearer ${facts["apiKey"]}` },
  });
  expect(models.status).toBe(200);
  expect(await node.stop()).toBe(0);
  const second = await seed(["--demo-data", "--not-production"]);
  expect(second.code).toBe(1);
  expect(second.stderr).toContain("first installation only");
  expect(await organizationCount()).toBe(1n);
});

async function seed(flags: readonly string[]) {
  const environment = nodeEnvironment(database.url, "/tmp/unused");
  return await runSpendra(["seed", ...flags], { environment });
}

async function organizationCount(): Promise<bigint> {
  const [row] = await database.sql<[{ count: bigint }]>`select count(*) from organizations`;
  return row.count;
}
