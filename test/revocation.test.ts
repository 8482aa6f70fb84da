/** Within two seconds a revoked key opens nothing on any node, also after an outage. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { type GatedProvider, gateProvider } from "./gated-provider.ts";
import { foundCompany, startNode, type TestNode } from "./node.ts";
import { postChat, readBooks } from "./node-calls.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";
import { openTcpProxy, type TcpProxy } from "./tcp-proxy.ts";
import { waitUntil } from "./wait-until.ts";

const REVOKED_MAX_MS = 2_000;
/** Once the way to the database is open again: the driver waits up to 2 s before it reconnects. */
const RECONNECTED_MAX_MS = 4_000;

let database: TestDatabase;
let proxy: TcpProxy;
let provider: GatedProvider;
let nodes: TestNode[];
let token: string;

beforeEach(async () => {
  database = await testDatabase();
  proxy = await openTcpProxy(database.url);
  provider = gateProvider();
  provider.open();
  ({ token } = await foundCompany(database.sql, provider.baseUrl));
  nodes = await Promise.all([startNode(proxy.url), startNode(database.url)]);
  for (const node of nodes) {
    expect(await askModels(node)).toBe(200);
    expect((await postChat(node, token)).status).toBe(200);
  }
});

afterEach(async () => {
  await proxy.restore();
  await Promise.all(nodes.map((node) => node.stop()));
  await proxy.stop();
  await provider.stop();
  await database.drop();
});

test("two nodes that know a key forget it within two seconds", async () => {
  await revoke();
  const revokedMs = performance.now();
  for (const node of nodes) {
    await waitUntil("it is refused", async () => (await askModels(node)) === 401);
    await expectRevoked(node);
  }
  expect(performance.now() - revokedMs).toBeLessThan(REVOKED_MAX_MS);
  expect((await readBooks(database)).entries).toBe(nodes.length);
});

describe.each(["cut", "stall"] as const)("while the way to the database is %s", (fault) => {
  test("a key that is revoked buys nothing, and stays revoked after it", async () => {
    const [away] = nodes as [TestNode];
    await (fault === "cut" ? proxy.cut() : proxy.stall());
    await revoke();
    // It cannot know yet, and lets nothing through that it cannot ask about.
    expect((await postChat(away, token)).status).toBe(503);
    await proxy.restore();
    const restoredMs = performance.now();
    await waitUntil("it is refused", async () => (await askModels(away)) === 401);
    expect(performance.now() - restoredMs).toBeLessThan(RECONNECTED_MAX_MS);
    await waitUntil("it is known to be revoked", async () => {
      return (await postChat(away, token)).status === 401;
    });
    await expectRevoked(away);
    expect((await readBooks(database)).entries).toBe(nodes.length);
    expect(provider.count()).toBe(nodes.length);
  }, 40_000);
});

test("a node that starts after the outage does not let it in either", async () => {
  await proxy.cut();
  await revoke();
  await proxy.restore();
  const anew = await startNode(proxy.url);
  nodes.push(anew);
  await expectRevoked(anew);
  expect(await askModels(anew)).toBe(401);
});

async function revoke(): Promise<void> {
  await database.sql`update api_keys set revoked_at = now()`;
}

async function askModels(node: TestNode): Promise<number> {
  const headers = { authorization: `Bearer ${token}` };
  return (await fetch(`${node.url}/v1/models`, { headers })).status;
}

async function expectRevoked(node: TestNode): Promise<void> {
  const refusal = await postChat(node, token);
  expect(refusal.status).toBe(401);
  expect(await refusal.json()).toMatchObject({ error: { code: "key_revoked" } });
}
