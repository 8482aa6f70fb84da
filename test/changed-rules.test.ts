/**
 * A key is proven once a call, before the body is read. What changes while the body is on its way
 * counts all the same, also on a node that nobody has told: neither a grant nor a refusal is made
 * under rules that are no longer in force.
 */
import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import { openBuiltInPriceBook } from "../src/catalog/built-in.ts";
import type { DemoCompany } from "../src/cli/demo-company.ts";
import { systemClock } from "../src/clock.ts";
import type { GatewayParts } from "../src/gateway/gateway-parts.ts";
import { serveGateway } from "../src/gateway/routes.ts";
import { RunningCalls } from "../src/gateway/running-calls.ts";
import { newId } from "../src/id.ts";
import { type Authenticator, createAuthenticator } from "../src/keys/authenticate.ts";
import { deriveKeyHmacKey } from "../src/keys/token.ts";
import { openAi } from "../src/providers/openai.ts";
import { Secret } from "../src/secret.ts";
import { type GatedProvider, gateProvider } from "./gated-provider.ts";
import { ENCRYPTION_KEY, foundCompany, PROVIDER_KEY } from "./node.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";
import { openTestWriter, type TestWriter } from "./test-writer.ts";

let database: TestDatabase;
let provider: GatedProvider;
let company: DemoCompany;
let writer: TestWriter;
let parts: GatewayParts;
let authenticator: Authenticator;
let proofs = 0;

beforeAll(async () => {
  database = await testDatabase();
  provider = gateProvider();
  provider.open();
  company = await foundCompany(database.sql, provider.baseUrl);
  writer = await openTestWriter(database.url);
  const { sql } = database;
  const hmacKey = deriveKeyHmacKey(new Secret(ENCRYPTION_KEY));
  authenticator = createAuthenticator({ sql, clock: systemClock, hmacKey });
  parts = {
    sql,
    authenticator: { ...authenticator, authenticate: countProof },
    priceBook: openBuiltInPriceBook([openAi.id]),
    providers: new Map([[openAi.id, openAi]]),
    providerSecrets: new Map([["OPENAI_API_KEY", new Secret(PROVIDER_KEY)]]),
    writer: writer.writer,
    running: new RunningCalls(writer.metrics),
    drainLimits: { timeoutMs: 1_000, tokensMax: 1_000 },
    clock: systemClock,
    log: { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} },
    metrics: writer.metrics,
    nodeId: "nod_01KAJ3M0000000000000000000",
    isDraining: () => false,
  };
});

afterAll(async () => {
  await writer.close();
  await provider.stop();
  await database.drop();
});

afterEach(async () => {
  await database.sql`
    update api_keys
    set
      revoked_at = null, expires_at = null, is_active = true, allowed_models = '{*}',
      reservation_max_nano_usd = null
  `;
});

test("a key is proven once a call", async () => {
  const before = proofs;
  expect((await call(async () => {})).status).toBe(200);
  expect(proofs - before).toBe(1);
});

const changes: readonly [string, string, number, string][] = [
  ["is revoked", "revoked_at = now()", 401, "key_revoked"],
  ["expires", "expires_at = now() - interval '1 second'", 401, "key_expired"],
  ["is switched off", "is_active = false", 401, "key_inactive"],
  ["loses the model", "allowed_models = '{gpt-4o}'", 403, "model_not_allowed"],
  ["is limited", "reservation_max_nano_usd = 1000", 403, "per_request_limit_exceeded"],
];

test.each(changes)(
  "a key that %s while its body comes is refused",
  async (_, set, status, code) => {
    const callsBefore = provider.count();
    const response = await call(() => change(set));
    expect(response.status).toBe(status);
    expect(await response.json()).toMatchObject({ error: { code } });
    expect(provider.count()).toBe(callsBefore);
  },
);

test("a key that gains the model while its body comes is not refused", async () => {
  await change("allowed_models = '{gpt-4o}'");
  authenticator.forgetAll();
  const refused = await call(async () => {});
  expect(refused.status).toBe(403);
  expect((await call(() => change("allowed_models = '{*}'"))).status).toBe(200);
});

test("an actor that moves while its body comes is decided where it then stands", async () => {
  const teamId = newId("team", new Date());
  const { sql } = database;
  const { organizationId } = company;
  await sql`
    insert into teams (organization_id, id, name, created_at)
    values (${organizationId}, ${teamId}, 'Paupers', now())
  `;
  await createNoBudget(teamId);
  expect((await call(async () => {})).status).toBe(200);
  const callsBefore = provider.count();
  const refused = await call(async () => {
    await sql`update employees set team_id = ${teamId}`;
  });
  expect(refused.status).toBe(402);
  expect(provider.count()).toBe(callsBefore);
  const back = await call(async () => {
    await sql`update employees set team_id = ${company.teamId}`;
  });
  expect(back.status).toBe(200);
});

test("an actor that is archived while its body comes is refused", async () => {
  const callsBefore = provider.count();
  const refused = await call(async () => {
    await database.sql`update agents set archived_at = now()`;
  });
  expect(refused.status).toBe(403);
  expect(await refused.json()).toMatchObject({ error: { code: "actor_not_allowed" } });
  expect(provider.count()).toBe(callsBefore);
  await database.sql`update agents set archived_at = null`;
});

/** A hard cap under which nothing fits. */
async function createNoBudget(teamId: string): Promise<void> {
  const { organizationId } = company;
  const budgetId = newId("budget", new Date());
  await database.sql`
    insert into budgets (
      organization_id, id, name, scope_kind, scope_id, amount_nano_usd, period, created_at
    )
    values (${organizationId}, ${budgetId}, 'None', 'team', ${teamId}, 0, 'lifetime', now())
  `;
  await database.sql`
    insert into policies (organization_id, id, name, kind, budget_id, created_at)
    values (
      ${organizationId}, ${newId("policy", new Date())}, 'None', 'hard_cap', ${budgetId}, now()
    )
  `;
}

async function change(set: string): Promise<void> {
  await database.sql.unsafe(`update api_keys set ${set}`);
}

function countProof(token: string): ReturnType<Authenticator["authenticate"]> {
  proofs++;
  return authenticator.authenticate(token);
}

/** The body is asked for when the key has been proven, and `meanwhile` happens before it comes. */
async function call(meanwhile: () => Promise<void>): Promise<Response> {
  const body = new ReadableStream<Uint8Array>(
    {
      pull: async (controller) => {
        await meanwhile();
        const messages = [{ role: "user", content: "hello" }];
        controller.enqueue(Buffer.from(JSON.stringify({ model: "gpt-4o-mini", messages })));
        controller.close();
      },
    },
    { highWaterMark: 0 },
  );
  const request = new Request("http://node/v1/chat/completions", {
    method: "POST",
    headers: { authorization: `Bearer ${company.token}` },
    body,
  });
  return await serveGateway(request, parts);
}
