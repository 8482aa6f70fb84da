/**
 * PostgreSQL falls in the moment after a key was revoked and another was blocked, while three nodes
 * remember both and are asked without pause. Neither is let in again: not by a memory, not by the
 * recovery, not by the notifications that were lost meanwhile.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { changeByInstallation } from "../src/audit/audit-event.ts";
import type { DemoCompany } from "../src/cli/demo-company.ts";
import { connect, type Sql } from "../src/database/client.ts";
import { migrate } from "../src/database/migrator.ts";
import { inTransaction } from "../src/database/transaction.ts";
import { createApiKey } from "../src/keys/api-key.ts";
import { createBlock } from "../src/keys/block.ts";
import { revokeApiKey } from "../src/keys/change-api-key.ts";
import { deriveKeyHmacKey } from "../src/keys/token.ts";
import { Secret } from "../src/secret.ts";
import { DisturbedPostgres } from "./chaos/disturbed-postgres.ts";
import { type GatedProvider, gateProvider } from "./gated-provider.ts";
import { ENCRYPTION_KEY, foundCompany, startNode, type TestNode } from "./node.ts";
import { postChat } from "./node-calls.ts";
import { waitUntil } from "./wait-until.ts";

type Key = { apiKeyId: string; token: string };

const NODES = 3;
const BACK_MAX_MS = 30_000;

let postgres: DisturbedPostgres;
let sql: Sql;
let provider: GatedProvider;
let company: DemoCompany;
let nodes: TestNode[];

beforeAll(async () => {
  postgres = await DisturbedPostgres.start();
  sql = connect(postgres.url, { connectionsMax: 2, applicationName: "test" });
  await migrate(sql, { now: new Date() });
  provider = gateProvider();
  provider.open();
  company = await foundCompany(sql, provider.baseUrl);
  nodes = await Promise.all(Array.from({ length: NODES }, () => startNode(postgres.url)));
}, 60_000);

afterAll(async () => {
  await postgres.heal();
  await Promise.all(nodes.map((node) => node.stop()));
  await sql.end({ timeout: 5 });
  await provider.stop();
  await postgres.remove();
});

test("a crash of PostgreSQL brings back neither a revoked key nor a blocked one", async () => {
  const { organizationId } = company;
  const [revoked, blocked, free] = [await createKey(), await createKey(), await createKey()];
  for (const { token } of [revoked, blocked, free]) {
    expect(await codesOf(token)).toEqual(nodes.map(() => "granted"));
  }
  const change = changeByInstallation(new Date());
  const target = { kind: "api_key", id: blocked.apiKeyId } as const;
  await inTransaction(sql, async (transaction) => {
    const key = { organizationId, id: revoked.apiKeyId, employeeIds: null, expectedVersion: 1 };
    await revokeApiKey(transaction, { ...key, cutsRunning: false }, change);
    const block = { organizationId, target, reason: "x", cutsRunning: false, endsAt: null };
    await createBlock(transaction, block, change);
  });
  const callsBefore = provider.count();
  const seen = new Set<string>();
  const watch = { isOver: false };
  const watching = Promise.all([revoked, blocked].map((key) => ask(key.token, seen, watch)));
  await postgres.stop("immediate");
  await waitUntil("the nodes notice", () => [...seen].some((code) => code.startsWith("503")));
  await postgres.restart();
  await waitUntil(
    "every node grants again",
    async () => (await codesOf(free.token)).every((code) => code === "granted"),
    BACK_MAX_MS,
  );
  watch.isOver = true;
  await watching;
  expect(seen.has("granted")).toBe(false);
  // And one that starts afterwards.
  nodes.push(await startNode(postgres.url));
  expect(await codesOf(revoked.token)).toEqual(nodes.map(() => "401 key_revoked"));
  expect(await codesOf(blocked.token)).toEqual(nodes.map(() => "403 blocked"));
  const grants = await sql`
    select from reservations
    where api_key_id in (${revoked.apiKeyId}, ${blocked.apiKeyId}) and reserved_at > ${change.at}
  `;
  expect(grants).toHaveLength(0);
  expect(provider.count() - callsBefore).toBeGreaterThanOrEqual(NODES);
}, 60_000);

async function createKey(): Promise<Key> {
  return await inTransaction(sql, (transaction) =>
    createApiKey(
      transaction,
      {
        organizationId: company.organizationId,
        name: "K",
        actor: { kind: "employee", id: company.employeeId },
        projectId: null,
        environment: "production",
        allowedProviders: [],
        allowedModels: ["gpt-4o-mini"],
        allowedTools: [],
        reservationMaxNanoUsd: null,
        expiresAt: null,
        tokenKind: "live",
      },
      {
        change: changeByInstallation(new Date()),
        hmacKey: deriveKeyHmacKey(new Secret(ENCRYPTION_KEY)),
        employeeIds: null,
      },
    ),
  );
}

async function ask(token: string, seen: Set<string>, watch: { isOver: boolean }): Promise<void> {
  while (!watch.isOver) {
    for (const code of await codesOf(token)) {
      seen.add(code);
    }
  }
}

async function codesOf(token: string): Promise<string[]> {
  return await Promise.all(
    nodes.map(async (node) => {
      const response = await postChat(node, token);
      const body = (await response.json()) as { error?: { code: string } };
      return response.ok ? "granted" : `${response.status} ${body.error?.code}`;
    }),
  );
}
