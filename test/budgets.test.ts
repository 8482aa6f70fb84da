/** Budgets that change: amounts, archiving, higher limits for a while, and what is left. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { endLapsedIncreases } from "../src/budgets/increase.ts";
import { formatUsd as usd } from "../src/money.ts";
import { BOUND_NANO_USD, COST_NANO_USD, type Ground, openGround } from "./policies-ground.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

let ground: Ground;
let start: Date;
let budgetId: string;

beforeAll(async () => {
  ground = await openGround();
  start = ground.api.time.now;
});

afterAll(async () => {
  await ground.close();
});

/** Each test has one lifetime budget, with a hard cap of `amountUsd`. */
beforeEach(async () => {
  ground.api.time.now = start;
  await ground.sql`update policies set archived_at = now() where archived_at is null`;
  await ground.sql`update budgets set archived_at = now() where archived_at is null`;
  budgetId = await addBudget({ amountUsd: "1", period: "lifetime" });
});

async function addBudget(fields: object): Promise<string> {
  const scope = { kind: "organization", id: ground.company.organizationId };
  const body = { name: "Whole", scope, ...fields };
  const budget = await ground.manage("POST", "/budgets", { body });
  const id = String(budget.body["id"]);
  const cap = { name: "Cap", kind: "hard_cap", budgetId: id };
  const policy = await ground.manage("POST", "/policies", { body: cap });
  expect([budget.status, policy.status]).toEqual([201, 201]);
  return id;
}

const read = async () => (await ground.manage("GET", `/budgets/${budgetId}`)).body;
const patch = (body: object, version?: number | string) =>
  ground.manage("PATCH", `/budgets/${budgetId}`, {
    body,
    ...(version === undefined ? {} : { version }),
  });

async function increase(amountUsd: string, lastsMs: number, version: number) {
  const endsAt = new Date(ground.api.time.now.getTime() + lastsMs).toISOString();
  const body = { amountUsd, endsAt, reason: "Launch week" };
  return await ground.manage("POST", `/budgets/${budgetId}/increases`, { body, version });
}

function passTime(durationMs: number): void {
  ground.api.time.now = new Date(start.getTime() + durationMs);
}

async function auditOf(action: string) {
  return await ground.sql`
    select before, after, user_id from audit_log
    where subject_id = ${budgetId} and action = ${action}
    order by id
  `;
}

describe("a changed budget", () => {
  test("holds at once in the open window, on nodes that have not heard of it", async () => {
    expect((await ground.ask({}, 0)).status).toBe(200);
    expect((await ground.ask({}, 1)).status).toBe(200);
    const lowered = await patch({ amountUsd: usd(2n * COST_NANO_USD + BOUND_NANO_USD - 1n) }, 1);
    expect(lowered).toMatchObject({ status: 200, body: { version: 2 } });
    expect(lowered.headers.get("etag")).toBe('"2"');
    expect((await ground.ask({}, 0)).status).toBe(402);
    await patch({ amountUsd: usd(2n * COST_NANO_USD + BOUND_NANO_USD) }, 2);
    expect((await ground.ask({}, 1)).status).toBe(200);
  });

  test("never has a running call fail, however often it is changed meanwhile", async () => {
    const calls = Array.from({ length: 60 }, (_, index) => ground.ask({}, index % 2));
    // Fewer than a call is resolved anew.
    const changes = Array.from({ length: 4 }, async (_, index) => {
      const { version } = await read();
      const number = Number(version);
      return index % 2 === 0
        ? await increase("1", HOUR_MS, number)
        : await patch({ amountUsd: `${index + 1}` }, number);
    });
    const changed = (await Promise.all(changes)).map(({ status }) => status);
    expect(changed.filter((status) => ![200, 201, 409].includes(status))).toEqual([]);
    const answered = (await Promise.all(calls)).map(({ status }) => status);
    expect(answered.filter((status) => status !== 200)).toEqual([]);
    expect(await read()).toMatchObject({
      window: { settledUsd: usd(60n * COST_NANO_USD), heldUsd: "0" },
    });
  });

  test("is audited with before and after", async () => {
    await patch({ name: "Renamed", amountUsd: "2.5" }, 1);
    expect(await auditOf("budget.change")).toMatchObject([
      {
        before: { name: "Whole", amountUsd: "1" },
        after: { name: "Renamed", amountUsd: "2.5" },
        user_id: ground.adminId,
      },
    ]);
  });

  test("needs the version that its author has seen, and one of many wins", async () => {
    const absent = await patch({ name: "A" });
    expect(absent).toMatchObject({ status: 428, body: { code: "precondition_required" } });
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, index) => patch({ amountUsd: `${index + 2}` }, 1)),
    );
    const refusals = answers.filter(({ status }) => status === 409);
    expect([answers.length - refusals.length, refusals.length]).toEqual([1, 7]);
    const stale = answers.find(({ status }) => status === 409);
    expect(stale?.body).toMatchObject({ code: "version_stale", details: { version: 2 } });
    expect(await auditOf("budget.change")).toHaveLength(1);
  });

  test.each<[string, object, string]>([
    ["nothing", {}, "body"],
    ["an unknown field", { name: "A", period: "day" }, "period"],
    ["an amount below zero", { amountUsd: "-1" }, "amountUsd"],
    ["a number", { amountUsd: 1 }, "amountUsd"],
    ["an absurd amount", { amountUsd: "9999999999" }, "amountUsd"],
    ["10,000 characters", { name: "n".repeat(10_000) }, "name"],
    ["a control character", { name: "a\u0007b" }, "name"],
  ])("with %s is refused, names the field and changes nothing", async (_, body, field) => {
    expect(await patch(body, 1)).toMatchObject({ status: 400, body: { errors: [{ field }] } });
    expect(await read()).toMatchObject({ name: "Whole", version: 1 });
  });
});

test("a budget tells when it is used up at the pace so far", async () => {
  expect((await ground.ask()).status).toBe(200);
  expect(await read()).toMatchObject({ forecast: null });
  passTime(HOUR_MS);
  const lastsMs = (1_000_000_000n * BigInt(HOUR_MS)) / COST_NANO_USD;
  const usedUpAt = new Date(start.getTime() + Number(lastsMs)).toISOString();
  expect(await read()).toMatchObject({ forecast: { usedUpAt, atEndUsd: null } });
});

test("nothing new is put on a scope that is archived or revoked", async () => {
  const { organizationId, teamId, apiKeyId } = ground.company;
  const team = { kind: "team", id: teamId };
  const key = { kind: "api_key", id: apiKeyId };
  const create = (scope: object) => {
    const body = { name: "B", scope, amountUsd: "1", period: "day" };
    return ground.manage("POST", "/budgets", { body });
  };
  const limit = (scope: object) => {
    const body = { name: "P", kind: "per_request_limit", scope, requestMaxUsd: "9" };
    return ground.manage("POST", "/policies", { body });
  };
  expect([(await create(team)).status, (await limit(key)).status]).toEqual([201, 201]);
  await ground.sql`update teams set archived_at = now() where id = ${teamId}`;
  await ground.sql`update api_keys set revoked_at = now() where id = ${apiKeyId}`;
  for (const answer of [
    await create(team),
    await limit(team),
    await create(key),
    await limit(key),
  ]) {
    expect(answer).toMatchObject({ status: 400, body: { errors: [{ field: "scope.id" }] } });
  }
  await ground.sql`update teams set archived_at = null where id = ${teamId}`;
  await ground.sql`update api_keys set revoked_at = null where id = ${apiKeyId}`;
  const whole = { kind: "organization", id: organizationId };
  expect((await create(whole)).status).toBe(201);
});

describe("an archived budget", () => {
  test("counts no more, takes its caps with it, and stays readable", async () => {
    expect((await ground.ask()).status).toBe(200);
    const path = `/budgets/${budgetId}/archive`;
    expect((await ground.manage("POST", path)).status).toBe(428);
    const archived = await ground.manage("POST", path, { version: 1 });
    expect(archived).toMatchObject({ status: 200, body: { archivedAt: start.toISOString() } });
    const refused = await ground.ask();
    expect(refused.status).toBe(403);
    expect(await read()).toMatchObject({ version: 2, window: { settledUsd: usd(COST_NANO_USD) } });
    const { body } = await ground.manage("GET", "/policies");
    expect(body["items"]).toEqual([]);
    const actions = await ground.sql<{ action: string }[]>`
      select action from audit_log where occurred_at = ${start} and action like '%.archive'
      order by action
    `;
    expect(actions.map(({ action }) => action)).toEqual(["budget.archive", "policy.archive"]);
  });

  test("and the caps on it may be changed at the same time: one after the other", async () => {
    for (let round = 0; round < 8; round++) {
      budgetId = await addBudget({ amountUsd: "1", period: "lifetime" });
      const caps = await ground.sql<{ id: string }[]>`
        select id from policies where budget_id = ${budgetId}
      `;
      const id = caps[0]?.id ?? "";
      const answers = await Promise.all([
        ground.manage("POST", `/budgets/${budgetId}/archive`, { version: 1 }),
        ground.manage("PATCH", `/policies/${id}`, { body: { name: "B" }, version: 1 }),
        patch({ amountUsd: "2" }, 1),
      ]);
      const failed = answers.filter(({ status }) => status !== 200 && status !== 409);
      expect(failed).toEqual([]);
    }
  });

  test("cannot be changed, increased or archived again", async () => {
    await ground.manage("POST", `/budgets/${budgetId}/archive`, { version: 1 });
    const attempts = [
      patch({ name: "A" }, 2),
      increase("1", HOUR_MS, 2),
      ground.manage("POST", `/budgets/${budgetId}/archive`, { version: 2 }),
    ];
    for (const answer of await Promise.all(attempts)) {
      expect(answer).toMatchObject({ status: 409, body: { code: "archived" } });
    }
  });
});

describe("a temporary increase", () => {
  beforeEach(async () => {
    await patch({ amountUsd: usd(BOUND_NANO_USD - 1n) }, 1);
    expect((await ground.ask()).status).toBe(402);
  });

  test("makes room at once and falls back exactly at its end, without any job", async () => {
    const raised = await increase("1", HOUR_MS, 2);
    expect(raised).toMatchObject({ status: 201, body: { increaseUsd: "1" } });
    passTime(HOUR_MS - 1);
    expect((await ground.ask({}, 0)).status).toBe(200);
    expect((await ground.ask({}, 1)).status).toBe(200);
    passTime(HOUR_MS);
    const answers = await Promise.all([0, 1, 0, 1].map((node) => ground.ask({}, node)));
    expect(answers.map(({ status }) => status)).toEqual([402, 402, 402, 402]);
    expect(await read()).toMatchObject({ increaseUsd: "0" });
  });

  test("is audited when it begins and, once, when it ends", async () => {
    await increase("1", HOUR_MS, 2);
    passTime(HOUR_MS);
    const { now } = ground.api.time;
    await Promise.all([1, 2, 3, 4].map(() => endLapsedIncreases(ground.sql, now, null)));
    expect(await auditOf("budget.increase")).toMatchObject([
      { after: { amountUsd: "1", reason: "Launch week" } },
    ]);
    expect(await auditOf("budget.increase_end")).toMatchObject([
      { after: { endedAt: now.toISOString() }, user_id: null },
    ]);
  });

  test("counts in windows that open while it runs, and not in those after", async () => {
    await ground.manage("POST", `/budgets/${budgetId}/archive`, { version: 2 });
    budgetId = await addBudget({ amountUsd: "1", period: "hour" });
    await increase("2", 2 * HOUR_MS, 1);
    for (const [hours, limitUsd] of [
      [0, "3"],
      [1, "3"],
      [2, "1"],
    ] as const) {
      passTime(hours * HOUR_MS);
      expect((await ground.ask({}, hours % 2)).status).toBe(200);
      expect(await read()).toMatchObject({ window: { limitUsd } });
    }
  });

  test("adds to others, and each ends by itself or by hand", async () => {
    await increase("1", HOUR_MS, 2);
    await increase("2", 2 * HOUR_MS, 3);
    expect(await read()).toMatchObject({ increaseUsd: "3" });
    passTime(HOUR_MS);
    await endLapsedIncreases(ground.sql, ground.api.time.now, null);
    expect(await read()).toMatchObject({ increaseUsd: "2", version: 5 });
    const { body } = await ground.manage("GET", `/budgets/${budgetId}/increases`);
    const items = body["items"] as { id: string; endedAt: string | null }[];
    const running = items.find(({ endedAt }) => endedAt === null);
    const ended = items.find(({ endedAt }) => endedAt === ground.api.time.now.toISOString());
    const end = (id: string | undefined) =>
      ground.manage("POST", `/budgets/${budgetId}/increases/${id}/end`, { version: 5 });
    expect((await end(ended?.id)).status).toBe(404);
    expect(await end(running?.id)).toMatchObject({ status: 200, body: { increaseUsd: "0" } });
    expect((await ground.ask()).status).toBe(402);
  });

  test("stays when the amount is changed meanwhile", async () => {
    await increase("1", HOUR_MS, 2);
    await patch({ amountUsd: "4" }, 3);
    expect((await ground.ask()).status).toBe(200);
    expect(await read()).toMatchObject({ amountUsd: "4", window: { limitUsd: "5" } });
  });

  test("is refused when it is over, too long, one too many or malformed", async () => {
    const fieldOf = async (answer: ReturnType<typeof increase>) => {
      const { status, body } = await answer;
      expect(status).toBe(400);
      return (body["errors"] as { field: string }[])[0]?.field;
    };
    expect(await fieldOf(increase("1", 0, 2))).toBe("endsAt");
    expect(await fieldOf(increase("1", 367 * 24 * HOUR_MS, 2))).toBe("endsAt");
    expect(await fieldOf(increase("0", HOUR_MS, 2))).toBe("amountUsd");
    for (let version = 2; version < 7; version++) {
      expect((await increase("999999999", HOUR_MS, version)).status).toBe(201);
    }
    expect(await fieldOf(increase("1", HOUR_MS, 7))).toBe("amountUsd");
    expect((await increase("1", HOUR_MS, 6)).status).toBe(409);
  });
});

describe("GET /v1/budget", () => {
  const report = async (node = 0) => {
    const response = await ground.send("/v1/budget", {}, node);
    expect(response.status).toBe(200);
    return (await response.json()) as Record<string, unknown>;
  };

  test("tells what is settled, held and left, exactly, before and while a call runs", async () => {
    expect(await report()).toMatchObject({
      object: "budget_report",
      budgets: [{ budget_id: budgetId, limit_usd: "1", settled_usd: "0", left_usd: "1" }],
    });
    await ground.ask();
    ground.provider.close();
    const running = ground.ask();
    const held = { held_usd: usd(BOUND_NANO_USD) };
    const before = ground.provider.count();
    while (ground.provider.count() === before) {
      await Promise.resolve(ground.sql`select 1`);
    }
    expect(await report(1)).toMatchObject({
      budgets: [{ ...held, settled_usd: "0.0000045", kind: "hard_cap", resets_at: null }],
    });
    ground.provider.open();
    await running;
    expect(await report()).toMatchObject({
      budgets: [{ settled_usd: "0.000009", held_usd: "0", left_usd: "0.999991" }],
    });
  });

  test("knows at once of changes that its node has not heard of", async () => {
    await report(0);
    await patch({ amountUsd: "7" }, 1);
    await increase("1", HOUR_MS, 2);
    expect(await report(0)).toMatchObject({ budgets: [{ limit_usd: "8" }] });
    passTime(HOUR_MS);
    expect(await report(0)).toMatchObject({ budgets: [{ limit_usd: "7" }] });
  });

  test("lists rate limits and the most that one request may cost", async () => {
    const scope = { kind: "organization", id: ground.company.organizationId };
    const rate = {
      name: "R",
      kind: "rate_limit",
      scope,
      unit: "requests",
      limit: 3,
      period: "day",
    };
    await ground.manage("POST", "/policies", { body: rate });
    const limit = { name: "L", kind: "per_request_limit", scope, requestMaxUsd: "0.5" };
    await ground.manage("POST", "/policies", { body: limit });
    await ground.ask();
    const day = new Date(start.getTime() + 24 * HOUR_MS).toISOString().slice(0, 10);
    expect(await report(1)).toMatchObject({
      request_max_usd: "0.5",
      rate_limits: [
        { unit: "requests", limit: 3, used: 1, left: 2, resets_at: `${day}T00:00:00.000Z` },
      ],
    });
  });

  test("is refused without a key that opens something", async () => {
    const { sql } = ground;
    await sql`update api_keys set is_active = false`;
    expect((await ground.send("/v1/budget", {})).status).toBe(401);
    await sql`update api_keys set is_active = true`;
  });
});

test("another organization's budget is nowhere to be found", async () => {
  const organizationId = "org_01KAJ3M2YV8Q4T6W9ZB5C7D1E2";
  await ground.sql`
    insert into organizations (id, name, created_at) values (${organizationId}, 'Globex', now())
    on conflict do nothing
  `;
  const token = await ground.tokenOf("org_admin", organizationId);
  const path = `/budgets/${budgetId}`;
  const endsAt = new Date(start.getTime() + HOUR_MS).toISOString();
  for (const [method, of, body] of [
    ["GET", path, undefined],
    ["PATCH", path, { name: "Mine" }],
    ["POST", `${path}/archive`, undefined],
    ["GET", `${path}/increases`, undefined],
    ["POST", `${path}/increases`, { amountUsd: "1", endsAt, reason: "R" }],
  ] as const) {
    const answer = await ground.manage(method, of, { body, version: 1, token });
    expect(answer).toMatchObject({ status: 404, body: { code: "not_found" } });
  }
});
