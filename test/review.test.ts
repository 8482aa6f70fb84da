/** Calls that a person must permit first: asked once, permitted once, passed once. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { connect } from "../src/database/client.ts";
import type { GatewayParts } from "../src/gateway/gateway-parts.ts";
import { serveGateway } from "../src/gateway/routes.ts";
import { formatUsd } from "../src/money.ts";
import {
  BOUND_NANO_USD,
  CHAT,
  type Ground,
  openGround,
  refusalIn,
  sorted,
} from "./policies-ground.ts";

const PARALLEL = 20;
const HOUR_MS = 60 * 60_000;

let ground: Ground;
let policyId: string;

beforeAll(async () => {
  ground = await openGround();
});

afterAll(async () => {
  await ground.close();
});

beforeEach(async () => {
  await ground.sql`update policies set archived_at = now() where kind = 'review'`;
  await ground.sql`delete from reviews`;
  policyId = await addReview({ aboveUsd: "0.00001" });
});

async function addReview(fields: object): Promise<string> {
  const { organizationId } = ground.company;
  const scope = { kind: "organization", id: organizationId };
  const body = { name: "Ask first", kind: "review", scope, ...fields };
  const created = await ground.manage("POST", "/policies", { body });
  expect(created.status).toBe(201);
  return String(created.body["id"]);
}

/** Has a call refused and answers its review. */
async function refused(fields: object = {}): Promise<string> {
  const refusal = await refusalIn(await ground.ask(fields));
  expect(refusal).toMatchObject({ status: 403, code: "review_required" });
  return String(refusal.details["review_id"]);
}

async function grant(id: string, body: object = {}, version = 1) {
  const granted = await ground.manage("POST", `/reviews/${id}/grant`, { body, version });
  expect(granted.status).toBe(200);
  return granted.body;
}

async function statuses(
  count: number,
  node = (index: number) => index % 2,
): Promise<readonly number[]> {
  const answers = await Promise.all(
    Array.from({ length: count }, (_, index) => ground.ask({}, node(index))),
  );
  return sorted(answers.map(({ status }) => status));
}

describe("a call above the amount", () => {
  test("is refused with a review, before the provider and without a hold", async () => {
    const before = ground.provider.count();
    const refusal = await refusalIn(await ground.ask());
    expect(refusal).toMatchObject({
      status: 403,
      code: "review_required",
      details: { policy_id: policyId, policy: "Ask first" },
    });
    expect(ground.provider.count()).toBe(before);
    const [held] = await ground.sql`select count(*)::int as count from reservations`;
    expect(held).toEqual({ count: 0 });
    const { body } = await ground.manage("GET", `/reviews/${String(refusal.details["review_id"])}`);
    expect(body).toMatchObject({
      status: "open",
      policyId,
      apiKeyId: ground.company.apiKeyId,
      model: "gpt-4o-mini",
      requestCount: 1,
      permit: null,
    });
  });

  test("that is asked many times is one review, of the dearest", async () => {
    const id = await refused();
    expect(await statuses(10)).toEqual(Array.from({ length: 10 }, () => 403));
    expect(await refused({ max_tokens: 200 })).toBe(id);
    const { body } = await ground.manage("GET", "/reviews?status=open");
    expect(body["items"]).toMatchObject([{ id, requestCount: 12, version: 2 }]);
  });

  test("of another model, or below the amount, is not asked about", async () => {
    await ground.sql`update policies set archived_at = now() where kind = 'review'`;
    await addReview({ aboveUsd: "0", model: "gpt-4o" });
    expect((await ground.ask()).status).toBe(200);
    await refused({ model: "gpt-4o" });
    await ground.sql`update policies set archived_at = now() where kind = 'review'`;
    await addReview({ aboveUsd: formatUsd(BOUND_NANO_USD) });
    expect((await ground.ask()).status).toBe(200);
    await refused({ max_tokens: 101 });
  });
});

describe("a permit", () => {
  test("for once lets exactly one of 20 parallel calls through, on two nodes", async () => {
    await grant(await refused());
    const before = ground.provider.count();
    const answered = await statuses(PARALLEL);
    expect(answered).toEqual([200, ...Array.from({ length: PARALLEL - 1 }, () => 403)]);
    expect(ground.provider.count()).toBe(before + 1);
  });

  test("of two lets exactly two through", async () => {
    await grant(await refused());
    await grant(await refused({ max_tokens: 101 }));
    const answered = await statuses(PARALLEL);
    expect(answered.filter((status) => status === 200).length).toBe(2);
  });

  test("for a time lets all through until its end, and none at it", async () => {
    const endsAt = new Date(ground.api.time.now.getTime() + HOUR_MS).toISOString();
    await grant(await refused(), { permit: "until", endsAt });
    expect(await statuses(5)).toEqual([200, 200, 200, 200, 200]);
    const { now } = ground.api.time;
    ground.api.time.now = new Date(now.getTime() + HOUR_MS);
    expect((await ground.ask()).status).toBe(403);
    ground.api.time.now = now;
  });

  test("covers the amount that was asked for, and no more", async () => {
    await grant(await refused());
    const dearer = await refused({ max_tokens: 500 });
    expect((await ground.ask()).status).toBe(200);
    await grant(dearer, { amountMaxUsd: "1" });
    expect((await ground.ask({ max_tokens: 600 })).status).toBe(200);
  });

  test("is given back when nothing was reserved, and when nothing was bought", async () => {
    await grant(await refused());
    await ground.sql`update budgets set amount_nano_usd = 1 where scope_kind = 'team'`;
    expect((await ground.ask()).status).toBe(402);
    await ground.sql`update budgets set amount_nano_usd = 25000000000 where scope_kind = 'team'`;
    expect((await ground.ask()).status).toBe(200);
    expect((await ground.ask()).status).toBe(403);
    await ground.sql`
      update reservations set status = 'released', cost_nano_usd = null, settled_at = null
      where id = (select used_reservation_id from reviews where status = 'granted')
    `;
    expect((await ground.ask()).status).toBe(200);
  });

  test("that was denied afterwards lets nothing through", async () => {
    const id = await refused();
    await grant(id);
    const body = { reason: "Not this week" };
    const denied = await ground.manage("POST", `/reviews/${id}/deny`, { body, version: 2 });
    expect(denied.body).toMatchObject({ status: "denied", permit: null, version: 3 });
    expect((await ground.ask()).status).toBe(403);
  });

  test("for the actor covers another key of it, for the key does not", async () => {
    const id = await refused();
    await grant(id, { covers: "key" });
    await ground.sql`update reviews set api_key_id = ${await otherKey()} where id = ${id}`;
    expect((await ground.ask()).status).toBe(403);
    await ground.sql`update reviews set permit_covers = 'actor' where id = ${id}`;
    expect((await ground.ask()).status).toBe(200);
  });
});

test("two policies need two permits, and none is spent while one is missing", async () => {
  const first = await refused();
  await grant(first);
  const second = await addReview({ aboveUsd: "0" });
  const id = await refused();
  const { body } = await ground.manage("GET", `/reviews/${id}`);
  expect(body["policyId"]).toBe(second);
  const { body: unspent } = await ground.manage("GET", `/reviews/${first}`);
  expect(unspent).toMatchObject({ permit: { usedAt: null } });
  await grant(id);
  expect((await ground.ask()).status).toBe(200);
});

test("a call that was paid for and comes again is told so, without another review", async () => {
  await grant(await refused());
  const headers = { "idempotency-key": "k-1" };
  expect((await ground.ask({ headers })).status).toBe(200);
  const again = await refusalIn(await ground.ask({ headers }));
  expect(again.code).toBe("idempotency_replay_unavailable");
  const { body } = await ground.manage("GET", "/reviews?status=open");
  expect(body["items"]).toEqual([]);
});

test("a call that needs a permit while the database is away is told to come again", async () => {
  await refused();
  const nowhere = { connectionsMax: 1, applicationName: "nowhere" };
  const sql = connect("postgres://127.0.0.1:1/none", nowhere);
  const request = new Request("http://127.0.0.1/v1/chat/completions", {
    method: "POST",
    headers: { authorization: `Bearer ${ground.company.token}` },
    body: JSON.stringify(CHAT),
  });
  const before = ground.provider.count();
  const answer = await serveGateway(request, { ...ground.nodes[0], sql } as GatewayParts);
  await sql.end();
  expect(await refusalIn(answer)).toMatchObject({ status: 503, code: "reservation_unavailable" });
  expect(answer.headers.get("retry-after")).toBe("2");
  expect(ground.provider.count()).toBe(before);
});

describe("a decision", () => {
  test("is made once, from what its author has seen", async () => {
    const id = await refused();
    const path = `/reviews/${id}/grant`;
    const none = await ground.manage("POST", path, { body: {} });
    expect(none).toMatchObject({ status: 428, body: { code: "precondition_required" } });
    await refused({ max_tokens: 400 });
    const stale = await ground.manage("POST", path, { body: {}, version: 1 });
    expect(stale).toMatchObject({ status: 409, body: { code: "version_stale" } });
    const answers = await Promise.all(
      Array.from({ length: 5 }, () => ground.manage("POST", path, { body: {}, version: 2 })),
    );
    expect(sorted(answers.map(({ status }) => status))).toEqual([200, 409, 409, 409, 409]);
    const decided = await ground.manage("POST", path, { body: {}, version: 3 });
    expect(decided).toMatchObject({ status: 409, body: { code: "review_decided" } });
    const rows = await ground.sql`
      select action, before, after from audit_log where subject_id = ${id}
    `;
    expect(rows).toMatchObject([
      { action: "review.grant", before: { status: "open" }, after: { permit: "once" } },
    ]);
  });

  test("needs review.decide, and a review of the own organization", async () => {
    const id = await refused();
    const auditor = await ground.tokenOf("auditor");
    const path = `/reviews/${id}/grant`;
    const refusedGrant = await ground.manage("POST", path, {
      body: {},
      version: 1,
      token: auditor,
    });
    expect(refusedGrant.status).toBe(403);
    expect((await ground.manage("GET", `/reviews/${id}`, { token: auditor })).status).toBe(200);
    await ground.sql`
      insert into organizations (id, name, created_at)
      values ('org_01KAJ3M2YV8Q4T6W9ZB5C7D1E2', 'Globex', now())
    `;
    const foreign = await ground.tokenOf("org_admin", "org_01KAJ3M2YV8Q4T6W9ZB5C7D1E2");
    for (const [method, of] of [
      ["GET", `/reviews/${id}`],
      ["POST", path],
      ["POST", `/reviews/${id}/deny`],
    ] as const) {
      const body = method === "GET" ? {} : { body: {} };
      const answer = await ground.manage(method, of, { ...body, version: 1, token: foreign });
      expect(answer).toMatchObject({ status: 404, body: { code: "not_found" } });
    }
  });

  test.each<[string, object, string]>([
    ["no end", { permit: "until" }, "endsAt"],
    ["an end that is over", { permit: "once", endsAt: "2020-01-01T00:00:00Z" }, "endsAt"],
    ["an end far away", { permit: "until", endsAt: "2099-01-01T00:00:00Z" }, "endsAt"],
    ["another permit", { permit: "forever" }, "permit"],
    ["another cover", { covers: "everyone" }, "covers"],
    ["an amount below zero", { amountMaxUsd: "-1" }, "amountMaxUsd"],
    ["10,000 characters", { reason: "x".repeat(10_000) }, "reason"],
    ["a control character", { reason: "a\u0000b" }, "reason"],
    ["an unknown field", { unknown: 1 }, "unknown"],
  ])("with %s is refused and names the field", async (_, body, field) => {
    const id = await refused();
    const answer = await ground.manage("POST", `/reviews/${id}/grant`, { body, version: 1 });
    expect(answer).toMatchObject({ status: 400, body: { errors: [{ field }] } });
  });
});

/** Another key of the same organization. */
async function otherKey(): Promise<string> {
  await ground.sql`
    insert into api_keys (
      organization_id, id, name, employee_id, environment, secret_hmac, allowed_models, created_at
    )
    select organization_id, 'key_other', 'Other', ${ground.company.employeeId}, environment,
      secret_hmac, allowed_models, now()
    from api_keys
    where id = ${ground.company.apiKeyId}
    on conflict do nothing
  `;
  return "key_other";
}
