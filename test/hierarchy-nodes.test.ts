/**
 * The hierarchy over two real nodes: what is changed over one decides the very next call at the
 * other, without waiting for anything, and what the other remembers is gone within a second.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { type GatedProvider, gateProvider } from "./gated-provider.ts";
import { ADMIN, foundCompany, startNode, type TestNode } from "./node.ts";
import { postChat } from "./node-calls.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";
import { waitUntil } from "./wait-until.ts";

const HEARD_MAX_MS = 1_000;

let database: TestDatabase;
let provider: GatedProvider;
let nodes: [TestNode, TestNode];
let company: Awaited<ReturnType<typeof foundCompany>>;
let cookie: string;
let paupersId: string;

beforeAll(async () => {
  database = await testDatabase();
  provider = gateProvider();
  provider.open();
  company = await foundCompany(database.sql, provider.baseUrl);
  nodes = await Promise.all([startNode(database.url), startNode(database.url)]);
  cookie = await signIn(nodes[0]);
  paupersId = await make("teams", { name: "Paupers" });
  const scope = { kind: "team", id: paupersId };
  const budget = { name: "Next to nothing", scope, amountUsd: "0.000000001", period: "lifetime" };
  const budgetId = await make("budgets", budget);
  await make("policies", { name: "Cap", kind: "hard_cap", budgetId });
}, 30_000);

afterAll(async () => {
  await Promise.all(nodes.map((node) => node.stop()));
  await provider.stop();
  await database.drop();
});

test("a move decides the next call at every node, there and back", async () => {
  const [, away] = nodes;
  const employee = `employees/${company.employeeId}`;
  for (let round = 0; round < 5; round++) {
    expect(await outcomeAt(away)).toBe("granted");
    await patch(employee, { teamId: paupersId });
    expect(await outcomeAt(away)).toBe("budget_exceeded");
    await patch(employee, { teamId: company.teamId });
    expect(await outcomeAt(away)).toBe("granted");
  }
});

test("a team that is moved takes its people with it", async () => {
  const [, away] = nodes;
  const branchId = await make("branches", { name: "Poor branch" });
  const scope = { kind: "branch", id: branchId };
  const budget = { name: "Nothing", scope, amountUsd: "0", period: "day" };
  const budgetId = await make("budgets", budget);
  await make("policies", { name: "Cap", kind: "hard_cap", budgetId });
  expect(await outcomeAt(away)).toBe("granted");
  await patch(`teams/${company.teamId}`, { branchId });
  expect(await outcomeAt(away)).toBe("budget_exceeded");
  await patch(`teams/${company.teamId}`, { branchId: null });
  expect(await outcomeAt(away)).toBe("granted");
});

test("a key for a project that is archived is refused, and the refusal leaves a row", async () => {
  const [, away] = nodes;
  const [project] = await database.sql<[{ id: string }]>`select id from projects`;
  expect(await outcomeAt(away)).toBe("granted");
  await change(`projects/${project.id}/archive`, "POST");
  expect(await outcomeAt(away)).toBe("project_not_allowed");
  await waitUntil("the refusal is recorded", async () => {
    const rows = await database.sql`
      select from gateway_requests where policy_result = 'project_not_allowed'
    `;
    return rows.length === 1;
  });
  await database.sql`update projects set archived_at = null`;
  expect(await outcomeAt(away)).toBe("granted");
});

test("a key is refused whatever above its actor is archived, also by hand", async () => {
  const [, away] = nodes;
  const { sql } = database;
  for (const table of ["employees", "teams"]) {
    await sql`update ${sql(table)} set archived_at = now()`;
    expect(await outcomeAt(away)).toBe("actor_not_allowed");
    await sql`update ${sql(table)} set archived_at = null`;
    expect(await outcomeAt(away)).toBe("granted");
  }
});

test("archiving stops the keys below at once, and everything else within a second", async () => {
  const [, away] = nodes;
  const [agent] = await database.sql<[{ id: string }]>`select id from agents`;
  expect([await outcomeAt(away), await askModels(away)]).toEqual(["granted", 200]);
  const archivedMs = performance.now();
  await change(`agents/${agent.id}/archive`, "POST");
  expect(await outcomeAt(away)).toBe("actor_not_allowed");
  await waitUntil("its memory is gone", async () => (await askModels(away)) === 403);
  const heardMs = performance.now() - archivedMs;
  console.log(`archived, refused and forgotten at the other node in ${Math.round(heardMs)} ms`);
  expect(heardMs).toBeLessThan(HEARD_MAX_MS);
  const calls = provider.count();
  for (const node of nodes) {
    expect(await outcomeAt(node)).toBe("actor_not_allowed");
  }
  expect(provider.count()).toBe(calls);
});

async function signIn(node: TestNode): Promise<string> {
  const response = await fetch(`${node.url}/management/session`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(ADMIN),
  });
  expect(response.status).toBe(200);
  return response.headers.get("set-cookie")?.split(";", 1)[0] ?? "";
}

/** Always over the first node. */
async function manage(
  path: string,
  method: string,
  options: { body?: object; headers?: Record<string, string> } = {},
): Promise<Response> {
  const { body, headers } = options;
  return await fetch(`${nodes[0].url}/management/${path}`, {
    method,
    headers: {
      cookie,
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
}

async function make(nouns: string, body: object): Promise<string> {
  const response = await manage(nouns, "POST", { body });
  expect(response.status).toBe(201);
  return ((await response.json()) as { id: string }).id;
}

async function patch(path: string, body: object): Promise<void> {
  await change(path, "PATCH", body);
}

async function change(path: string, method: string, body?: object): Promise<void> {
  const thing = await manage(path.replace(/\/archive$/, ""), "GET");
  const headers = { "if-match": thing.headers.get("etag") ?? "" };
  const response = await manage(path, method, { headers, ...(body === undefined ? {} : { body }) });
  expect(response.status).toBe(200);
}

/** `granted`, or the code of the refusal. */
async function outcomeAt(node: TestNode): Promise<string> {
  const response = await postChat(node, company.token);
  const body = (await response.json()) as { error?: { code: string } };
  return body.error?.code ?? "granted";
}

async function askModels(node: TestNode): Promise<number> {
  const headers = { authorization: `Bearer ${company.token}` };
  return (await fetch(`${node.url}/v1/models`, { headers })).status;
}
