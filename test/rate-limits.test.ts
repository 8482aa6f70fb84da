/** Rate limits: exact over all nodes, in the same step as the money. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { changeByInstallation } from "../src/audit/audit-event.ts";
import { createPolicy, type NewPolicy } from "../src/budgets/policy.ts";
import { rateWindowDeleteEndedBefore } from "../src/budgets/queries.ts";
import { type GatedProvider, gateProvider } from "./gated-provider.ts";
import { foundCompany, startNode, type TestNode } from "./node.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";
import { waitUntil } from "./wait-until.ts";

type Rate = Extract<NewPolicy, { kind: "rate_limit" }>["rate"];
type Refusal = { error: { code: string; type: string; message: string; details: object } };

const CALLS = 40;
const BODY = JSON.stringify({
  model: "gpt-4o-mini",
  max_tokens: 90,
  messages: [{ role: "user", content: "Is there room?" }],
});
/** One token a byte of the body, and what the answer may have. */
const HELD_TOKENS = BODY.length + 90;

let database: TestDatabase;
let provider: GatedProvider;
let nodes: TestNode[];
let token: string;
let organizationId: string;

beforeAll(async () => {
  database = await testDatabase();
  provider = gateProvider();
  ({ token, organizationId } = await foundCompany(database.sql, provider.baseUrl));
  nodes = await Promise.all([startNode(database.url), startNode(database.url)]);
});

afterAll(async () => {
  await Promise.all(nodes.map((node) => node.stop()));
  await provider.stop();
  await database.drop();
});

beforeEach(async () => {
  provider.open();
  await database.sql`
    update policies set archived_at = now() where kind in ('rate_limit', 'soft_cap')
  `;
});

describe("a limit of", () => {
  test("requests lets exactly that many through, on two nodes, in one period", async () => {
    const policyId = await limitTo({ unit: "requests", limit: 17, period: "day" });
    const answers = await callMany(CALLS);
    expect(answers.filter(({ status }) => status === 200).length).toBe(17);
    const refused = answers.find(({ status }) => status === 429);
    const { error } = (await (refused as Response).json()) as Refusal;
    expect(error).toMatchObject({
      code: "rate_limit_exceeded",
      type: "rate_limit_error",
      details: {
        policy_id: policyId,
        policy: "Slowly",
        unit: "requests",
        limit: 17,
        needed: 1,
        resets_at: `${tomorrow()}T00:00:00.000Z`,
      },
    });
    expect(error.message).toContain('"Slowly" allows 17 requests a day');
    const retryAfter = Number(refused?.headers.get("retry-after"));
    expect(retryAfter).toBeGreaterThan(0);
    expect(retryAfter).toBeLessThanOrEqual(86_400);
    expect(refused?.headers.get("x-should-retry")).toBeNull();
    expect(await rateWindow(policyId)).toEqual({ held: 0n, used: 17n });
    expect(await moneyHeld()).toBe("0");
  });

  test("tokens holds the most, counts what was used, and refuses what can never fit", async () => {
    const policyId = await limitTo({ unit: "tokens", limit: HELD_TOKENS * 3, period: "hour" });
    provider.close();
    const running = [call(0), call(1), call(0)];
    await waitUntil("three calls run", async () => (await rateWindow(policyId)).held > 0n);
    await waitUntil("all three hold", async () => {
      return (await rateWindow(policyId)).held === BigInt(HELD_TOKENS * 3);
    });
    expect((await call(1)).status).toBe(429);
    provider.open();
    for (const answer of await Promise.all(running)) expect(answer.status).toBe(200);
    // 10 and 5 tokens each.
    expect(await rateWindow(policyId)).toEqual({ held: 0n, used: 45n });

    await limitTo({ unit: "tokens", limit: HELD_TOKENS - 1, period: "hour" });
    const never = await call(0);
    expect(never.status).toBe(429);
    expect(never.headers.get("retry-after")).toBeNull();
    expect(never.headers.get("x-should-retry")).toBe("false");
    const { error } = (await never.json()) as Refusal;
    expect(error.message).toContain("Lower max_completion_tokens");
  });

  test("calls at the same time lets the next in when one has ended", async () => {
    const policyId = await limitTo({ unit: "concurrent_calls", limit: 5, period: null });
    provider.close();
    const before = provider.count();
    const answers = Array.from({ length: 20 }, (_, index) => call(index));
    let refusals = 0;
    const counted = answers.map(async (answer) => {
      const { status } = await answer;
      refusals += status === 429 ? 1 : 0;
    });
    await waitUntil("fifteen were refused", () => refusals === 15);
    await waitUntil("five are with the provider", () => provider.count() === before + 5);
    expect(await rateWindow(policyId)).toEqual({ held: 5n, used: 0n });
    provider.open();
    await Promise.all(counted);
    expect(await rateWindow(policyId)).toEqual({ held: 0n, used: 0n });
    const next = await call(1);
    expect(next.status).toBe(200);
  });

  test("another model or provider is not counted", async () => {
    await limitTo({ unit: "requests", limit: 0, period: "minute", model: "gpt-4o" });
    expect((await call(0)).status).toBe(200);
    await limitTo({ unit: "requests", limit: 0, period: "minute", model: "gpt-4o-mini" });
    expect((await call(0)).status).toBe(429);
  });
});

test("a full budget is told before a full rate limit; one holds with the other only", async () => {
  const policyId = await limitTo({ unit: "requests", limit: 3, period: "day" });
  await database.sql`update budgets set amount_nano_usd = 0 where scope_kind = 'team'`;
  expect((await call(0)).status).toBe(402);
  await database.sql`update budgets set amount_nano_usd = 100000000000 where scope_kind = 'team'`;
  await callMany(3);
  expect((await call(0)).status).toBe(429);
  expect(await rateWindow(policyId)).toEqual({ held: 0n, used: 3n });
  expect(await moneyHeld()).toBe("0");
});

test("a soft cap that is passed refuses nothing and counts everything", async () => {
  await database.sql`
    insert into budgets (
      organization_id, id, name, scope_kind, scope_id, amount_nano_usd, period, created_at
    )
    values (
      ${organizationId}, 'bud_soft', 'Soft', 'organization', ${organizationId}, 1, 'day', now()
    )
  `;
  await database.sql.begin(async (transaction) => {
    const policy = {
      organizationId,
      name: "Watch",
      kind: "soft_cap",
      budgetId: "bud_soft",
    } as const;
    await createPolicy(transaction, policy, changeByInstallation(new Date()));
  });
  const answers = await callMany(10);
  expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 10 }, () => 200));
  const [window] = await database.sql`
    select limit_nano_usd as limit, held_nano_usd as held, settled_nano_usd as settled
    from budget_windows
    where budget_id = 'bud_soft'
  `;
  expect(window).toEqual({ limit: 1n, held: 0n, settled: 45_000n });
  const left = Number(answers[0]?.headers.get("x-spendra-budget-remaining-usd"));
  expect(left).toBeGreaterThan(0);
});

test("windows that ended a day ago are forgotten, unless a call is held in them", async () => {
  const policyId = await limitTo({ unit: "requests", limit: 3, period: "minute" });
  const yesterday = new Date(Date.now() - 86_400_000);
  await database.sql`
    insert into rate_windows (
      organization_id, id, policy_id, unit, window_start, window_end, limit_units, held_units
    )
    select
      ${organizationId}, 'rwn_' || hours || '_' || held, ${policyId}, 'requests',
      now() - make_interval(hours => hours + 1), now() - make_interval(hours => hours), 3, held
    from unnest(array[1, 23, 25, 99]) as hours, unnest(array[0, 1]) as held
  `;
  expect(await rateWindowDeleteEndedBefore(database.sql, yesterday)).toBe(2);
  const left = await database.sql`select id from rate_windows where policy_id = ${policyId}`;
  expect(left.length).toBe(6);
});

async function limitTo(rate: Partial<Rate> & Pick<Rate, "unit" | "limit" | "period">) {
  return await database.sql.begin(async (transaction) => {
    await transaction`update policies set archived_at = now() where kind = 'rate_limit'`;
    const policy: NewPolicy = {
      organizationId,
      name: "Slowly",
      kind: "rate_limit",
      scope: { kind: "organization", id: organizationId },
      rate: { provider: null, model: null, ...rate },
    };
    return await createPolicy(transaction, policy, changeByInstallation(new Date()));
  });
}

function callMany(count: number): Promise<Response[]> {
  return Promise.all(Array.from({ length: count }, (_, index) => call(index)));
}

async function call(index: number): Promise<Response> {
  return await fetch(`${nodes[index % 2]?.url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: BODY,
  });
}

async function rateWindow(policyId: string): Promise<{ held: bigint; used: bigint }> {
  const [row] = await database.sql<{ held: bigint; used: bigint }[]>`
    select held_units as held, used_units as used from rate_windows where policy_id = ${policyId}
  `;
  return row === undefined ? { held: 0n, used: 0n } : { held: row.held, used: row.used };
}

async function moneyHeld(): Promise<string> {
  const [row] = await database.sql<[{ held: string }]>`
    select sum(held_nano_usd)::text as held from budget_windows
  `;
  return row.held;
}

function tomorrow(): string {
  return new Date(Date.now() + 86_400_000).toISOString().slice(0, 10);
}
