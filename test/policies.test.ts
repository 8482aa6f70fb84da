/** Policies that change, policies in shadow, and trying a call without making it. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { connect } from "../src/database/client.ts";
import { boundChat } from "../src/gateway/chat-bounds.ts";
import { parseChatRequest } from "../src/gateway/chat-request.ts";
import type { GatewayParts } from "../src/gateway/gateway-parts.ts";
import { serveGateway } from "../src/gateway/routes.ts";
import { formatUsd as usd } from "../src/money.ts";
import {
  BOUND_NANO_USD,
  CHAT,
  type Ground,
  openGround,
  refusalIn,
  sorted,
} from "./policies-ground.ts";
import { waitUntil } from "./wait-until.ts";

type Step = {
  check: string;
  policyId: string | null;
  mode: string;
  verdict: string;
  code: string | null;
};

let ground: Ground;
let budgetId: string;
let scope: { kind: string; id: string };

beforeAll(async () => {
  ground = await openGround();
  scope = { kind: "organization", id: ground.company.organizationId };
});

afterAll(async () => {
  await ground.close();
});

/** Each test has one budget of a dollar with a hard cap. */
beforeEach(async () => {
  await ground.sql`update policies set archived_at = now() where archived_at is null`;
  await ground.sql`update budgets set archived_at = now() where archived_at is null`;
  budgetId = await addBudget("1");
  await addPolicy({ kind: "hard_cap", budgetId });
});

async function addBudget(amountUsd: string): Promise<string> {
  const body = { name: "Whole", scope, amountUsd, period: "lifetime" };
  return String((await ground.manage("POST", "/budgets", { body })).body["id"]);
}

async function addPolicy(fields: object): Promise<string> {
  const created = await ground.manage("POST", "/policies", { body: { name: "P", ...fields } });
  expect(created.status).toBe(201);
  return String(created.body["id"]);
}

const patch = (id: string, body: object, version: number) =>
  ground.manage("PATCH", `/policies/${id}`, { body, version });
const read = async (id: string) => (await ground.manage("GET", `/policies/${id}`)).body;
const codes = async (...nodes: number[]) =>
  (await Promise.all(nodes.map((node) => ground.ask({}, node)))).map(({ status }) => status);

describe("a changed policy", () => {
  test("of requests holds in the window that is open, on both nodes", async () => {
    const rate = { kind: "rate_limit", scope, unit: "requests", limit: 2, period: "day" };
    const id = await addPolicy(rate);
    expect(sorted(await codes(0, 1, 0))).toEqual([200, 200, 429]);
    expect(await patch(id, { limit: 4 }, 1)).toMatchObject({ body: { limit: 4, version: 2 } });
    expect(sorted(await codes(0, 1, 0))).toEqual([200, 200, 429]);
    await patch(id, { limit: 3 }, 2);
    expect(await codes(0, 1)).toEqual([429, 429]);
    const refusal = await refusalIn(await ground.ask());
    expect(refusal.details).toMatchObject({ limit: 3, used: 4 });
  });

  test("of each kind holds from the next request on", async () => {
    const limit = await addPolicy({ kind: "per_request_limit", scope, requestMaxUsd: "1" });
    expect(await codes(0, 1)).toEqual([200, 200]);
    await patch(limit, { requestMaxUsd: usd(BOUND_NANO_USD - 1n) }, 1);
    expect(await codes(0, 1)).toEqual([403, 403]);
    await patch(limit, { requestMaxUsd: usd(BOUND_NANO_USD) }, 2);
    expect(await codes(0, 1)).toEqual([200, 200]);
    const list = await addPolicy({ kind: "allowlist", scope, models: ["gpt-4o"] });
    expect(await codes(0, 1)).toEqual([403, 403]);
    await patch(list, { models: null, providers: ["openai"] }, 1);
    expect(await codes(0, 1)).toEqual([200, 200]);
    expect(await read(list)).toMatchObject({ models: null, providers: ["openai"], version: 2 });
  });

  test("is audited with before and after, and when it is archived", async () => {
    const id = await addPolicy({ kind: "per_request_limit", scope, requestMaxUsd: "1" });
    await patch(id, { name: "Less", requestMaxUsd: "0.5" }, 1);
    const path = `/policies/${id}/archive`;
    expect((await ground.manage("POST", path)).status).toBe(428);
    expect((await ground.manage("POST", path, { version: 1 })).status).toBe(409);
    expect((await ground.manage("POST", path, { version: 2 })).status).toBe(200);
    const again = await ground.manage("POST", path, { version: 3 });
    expect(again).toMatchObject({ status: 409, body: { code: "archived" } });
    const rows = await ground.sql`
      select action, before, after from audit_log where subject_id = ${id} order by occurred_at, id
    `;
    const changed = rows.find(({ action }) => action === "policy.change");
    expect(changed).toMatchObject({
      before: { name: "P", requestMaxUsd: "1" },
      after: { name: "Less", requestMaxUsd: "0.5" },
    });
    expect(rows.filter(({ action }) => action === "policy.archive")).toHaveLength(1);
    expect(await read(id)).toMatchObject({ archivedAt: ground.api.time.now.toISOString() });
  });

  test.each<[string, object, object, string]>([
    ["what its kind has not", { kind: "hard_cap" }, { limit: 1 }, "limit"],
    ["a soft cap in shadow", { kind: "soft_cap" }, { mode: "shadow" }, "mode"],
    ["nothing", { kind: "hard_cap" }, {}, "body"],
    ["its kind", { kind: "hard_cap" }, { name: "A", kind: "soft_cap" }, "kind"],
    ["another mode", { kind: "hard_cap" }, { mode: "off" }, "mode"],
    ["10,000 characters", { kind: "hard_cap" }, { name: "n".repeat(10_000) }, "name"],
  ])("with %s is refused and names the field", async (_, policy, body, field) => {
    const id = await addPolicy({ budgetId, ...policy });
    expect(await patch(id, body, 1)).toMatchObject({ status: 400, body: { errors: [{ field }] } });
    expect(await read(id)).toMatchObject({ version: 1 });
  });

  test("keeps what its kind needs", async () => {
    const list = await addPolicy({ kind: "allowlist", scope, models: ["*"] });
    const emptied = await patch(list, { models: null }, 1);
    expect(emptied).toMatchObject({ status: 400, body: { errors: [{ field: "models" }] } });
  });

  test("needs the capability of its kind, and is nobody else's", async () => {
    const cap = await addPolicy({ kind: "hard_cap", budgetId });
    const list = await addPolicy({ kind: "allowlist", scope, models: ["*"] });
    const token = await ground.tokenOf("platform_admin");
    const change = { body: { name: "B" }, version: 1, token };
    expect((await ground.manage("PATCH", `/policies/${cap}`, change)).status).toBe(403);
    expect((await ground.manage("PATCH", `/policies/${list}`, change)).status).toBe(200);
    const id = "org_01KAJ3M2YV8Q4T6W9ZB5C7D1E2";
    await ground.sql`
      insert into organizations (id, name, created_at) values (${id}, 'Globex', now())
    `;
    const foreign = {
      body: { name: "B" },
      version: 1,
      token: await ground.tokenOf("org_admin", id),
    };
    expect((await ground.manage("PATCH", `/policies/${cap}`, foreign)).status).toBe(404);
    const { token: other } = foreign;
    expect((await ground.manage("GET", `/policies/${cap}`, { token: other })).status).toBe(404);
  });
});

describe("a policy in shadow", () => {
  const shadowOf = async (id: string, calls: number) => {
    await waitUntil(`${calls} calls are counted`, async () => {
      const { shadow } = (await read(id)) as { shadow: { calls: number } | null };
      return shadow?.calls === calls;
    });
    return (await read(id))["shadow"];
  };

  test("refuses nothing, and counts what it would have refused", async () => {
    const mode = "shadow";
    const list = await addPolicy({ kind: "allowlist", mode, scope, models: ["gpt-4o"] });
    const open = await addPolicy({ kind: "allowlist", mode, scope, models: ["*"] });
    const limit = await addPolicy({
      ...{ kind: "per_request_limit", mode, scope },
      requestMaxUsd: usd(BOUND_NANO_USD - 1n),
    });
    const review = await addPolicy({ kind: "review", mode, scope, aboveUsd: "0" });
    expect(await codes(0, 1, 0)).toEqual([200, 200, 200]);
    expect(await shadowOf(list, 3)).toEqual({ calls: 3, refusals: 3 });
    expect(await shadowOf(open, 3)).toEqual({ calls: 3, refusals: 0 });
    expect(await shadowOf(limit, 3)).toEqual({ calls: 3, refusals: 3 });
    expect(await shadowOf(review, 3)).toEqual({ calls: 3, refusals: 3 });
  });

  test("that is a hard cap counts like a soft one, and is no hard cap by itself", async () => {
    const other = await addBudget(usd(10_000n));
    const cap = await addPolicy({ kind: "hard_cap", mode: "shadow", budgetId: other });
    for (let call = 1; call <= 4; call++) {
      expect(await codes(0)).toEqual([200]);
      await shadowOf(cap, call);
    }
    const { refusals } = (await shadowOf(cap, 4)) as { refusals: number };
    // What it has room for is at most the first two: 4,500 nano-dollars each are booked.
    expect(refusals).toBeGreaterThanOrEqual(2);
    await patch(cap, { mode: "enforced" }, 1);
    expect(await codes(0, 1)).toEqual([402, 402]);
    await patch(cap, { mode: "shadow" }, 2);
    expect(await codes(0, 1)).toEqual([200, 200]);
    await ground.sql`update policies set archived_at = now() where mode = 'enforced'`;
    expect(await codes(0, 1)).toEqual([403, 403]);
  });

  test("that is a rate limit counts exactly, and binds once it is enforced", async () => {
    const rate = { kind: "rate_limit", scope, unit: "requests", limit: 2, period: "day" };
    const id = await addPolicy({ ...rate, mode: "shadow" });
    for (let call = 1; call <= 3; call++) {
      expect(await codes(call % 2)).toEqual([200]);
      await shadowOf(id, call);
    }
    expect(await shadowOf(id, 3)).toEqual({ calls: 3, refusals: 1 });
    await patch(id, { mode: "enforced" }, 1);
    expect(await codes(0, 1)).toEqual([429, 429]);
    await patch(id, { mode: "shadow" }, 2);
    expect(await codes(0, 1)).toEqual([200, 200]);
  });
});

test("a call that falls under none of these asks only for its reservation", async () => {
  await addPolicy({ kind: "review", scope, aboveUsd: "1000" });
  expect(await codes(0)).toEqual([200]);
  const [node] = ground.nodes;
  const nowhere = { connectionsMax: 1, applicationName: "nowhere" };
  const sql = connect("postgres://127.0.0.1:1/none", nowhere);
  const request = new Request("http://127.0.0.1/v1/chat/completions", {
    method: "POST",
    headers: { authorization: `Bearer ${ground.company.token}` },
    body: JSON.stringify(CHAT),
  });
  const answer = await serveGateway(request, { ...node, sql } as GatewayParts);
  await sql.end();
  expect(answer.status).toBe(200);
});

describe("a dry run", () => {
  const dryRun = async (fields: object) => {
    const body = { apiKeyId: ground.company.apiKeyId, ...fields };
    const answer = await ground.manage("POST", "/policies/dry-run", { body });
    return { ...answer, steps: answer.body["steps"] as Step[] };
  };

  test("says what the gateway then says, in its order, and holds nothing", async () => {
    const list = await addPolicy({ kind: "allowlist", scope, models: ["gpt-4o"] });
    const limit = await addPolicy({ kind: "per_request_limit", scope, requestMaxUsd: "0.000001" });
    const review = await addPolicy({ kind: "review", scope, aboveUsd: "0" });
    const rate = { kind: "rate_limit", scope, unit: "requests", limit: 0, period: "day" };
    const rateId = await addPolicy(rate);
    await ground.sql`update budgets set amount_nano_usd = 1 where id = ${budgetId}`;
    const before = ground.provider.count();
    const tried = await dryRun({ chat: CHAT });
    expect(tried.body).toMatchObject({ wouldBe: "refused", boundUsd: usd(BOUND_NANO_USD) });
    const order = tried.steps.filter(({ verdict }) => verdict === "refuses");
    expect(order.map(({ code }) => code)).toEqual([
      "model_not_allowed",
      "per_request_limit_exceeded",
      "review_required",
      "budget_exceeded",
      "rate_limit_exceeded",
    ]);
    const [cap] = await ground.sql<{ id: string }[]>`
      select id from policies where budget_id = ${budgetId}
    `;
    const ids = [list, limit, review, cap?.id ?? "", rateId];
    expect(order.map(({ policyId }) => policyId)).toEqual(ids);
    // Whichever refuses first is taken away, until nothing is left.
    for (const { code, policyId } of order) {
      const { body } = await dryRun({ chat: CHAT });
      expect(body["code"]).toBe(code);
      expect(await refusalIn(await ground.ask())).toMatchObject({ code, status: body["status"] });
      if (code === "budget_exceeded") {
        await ground.sql`update budgets set amount_nano_usd = 1000000000 where id = ${budgetId}`;
      } else {
        await ground.sql`update policies set archived_at = now() where id = ${policyId}`;
      }
    }
    expect((await dryRun({ chat: CHAT })).body).toMatchObject({ wouldBe: "granted", code: null });
    expect(ground.provider.count()).toBe(before);
    const [held] = await ground.sql`
      select count(*)::int as count from budget_windows where budget_id = ${budgetId}
    `;
    // The refused calls opened the window; the dry runs held nothing in it.
    expect(held).toEqual({ count: 1 });
  });

  test("tells what only counts, and what is in shadow", async () => {
    const soft = await addPolicy({ kind: "soft_cap", budgetId: await addBudget("0") });
    const cap = { kind: "hard_cap", mode: "shadow", budgetId: await addBudget("0") };
    const shadow = await addPolicy(cap);
    const list = await addPolicy({ kind: "allowlist", mode: "shadow", scope, models: ["gpt-4o"] });
    const { steps, body } = await dryRun({ chat: CHAT });
    expect(body).toMatchObject({ wouldBe: "granted" });
    const stepOf = (id: string) => steps.find(({ policyId }) => policyId === id);
    expect(stepOf(soft)).toMatchObject({ check: "soft_cap", verdict: "counts" });
    expect(stepOf(shadow)).toMatchObject({ mode: "shadow", verdict: "refuses" });
    expect(stepOf(list)).toMatchObject({ mode: "shadow", verdict: "refuses" });
  });

  test("takes bounds instead of a body", async () => {
    const bounds = { model: "gpt-4o-mini", promptTokensMax: 1_000, completionTokensMax: 100 };
    expect((await dryRun(bounds)).body).toMatchObject({ boundUsd: "0.00021" });
  });

  test.each<[string, object]>([
    ["a limit", { max_completion_tokens: 7 }],
    ["two limits", { max_tokens: 9, max_completion_tokens: 7 }],
    ["no limit", { max_tokens: undefined }],
    ["choices", { n: 3 }],
    ["parts of text", { messages: [{ role: "user", content: [{ type: "text", text: "é" }] }] }],
    ["more than the context", { messages: [{ role: "user", content: "é".repeat(200_000) }] }],
  ])("bounds a chat with %s as the gateway does", async (_, fields) => {
    const chat = { ...CHAT, ...fields };
    const parsed = parseChatRequest(JSON.stringify(chat));
    const price = ground.nodes[0]?.priceBook.priceOf("openai", "gpt-4o-mini", new Date());
    const [organization] = await ground.sql<{ tokens: number }[]>`
      select completion_tokens_default as tokens from organizations
      where id = ${ground.company.organizationId}
    `;
    const bounds = boundChat(parsed, organization?.tokens ?? 0, price?.contextTokensMax ?? null);
    const nanoUsd =
      (bounds?.promptTokensMax ?? 0n) * 150n + (bounds?.completionTokensMax ?? 0n) * 600n;
    expect((await dryRun({ chat })).body).toMatchObject({ boundUsd: usd(nanoUsd) });
  });

  test.each<[string, object, string]>([
    ["nothing to try", {}, "model"],
    ["two things to try", { chat: CHAT, model: "gpt-4o" }, "model"],
    ["an image", { chat: { ...CHAT, messages: [{ content: [{ type: "image_url" }] }] } }, "chat."],
    ["searches", { chat: { ...CHAT, web_search_options: {} } }, "chat.web_search_options"],
    ["an unknown field", { chat: CHAT, hold: true }, "hold"],
    ["a malformed key", { chat: CHAT, apiKeyId: "key_1" }, "apiKeyId"],
  ])("of %s is refused and names the field", async (_, fields, field) => {
    const { status, body } = await dryRun(fields);
    expect(status).toBe(400);
    const [first] = body["errors"] as { field: string }[];
    expect(first?.field).toStartWith(field);
  });

  test("knows no key of another organization", async () => {
    const unknown = await dryRun({ chat: CHAT, apiKeyId: "key_01KAJ3M2YV8Q4T6W9ZB5C7D1E2" });
    expect(unknown).toMatchObject({ status: 404, body: { code: "not_found" } });
    const id = "org_01KAJ3M2YV8Q4T6W9ZB5C7D1E3";
    await ground.sql`
      insert into organizations (id, name, created_at) values (${id}, 'Initech', now())
    `;
    const body = { apiKeyId: ground.company.apiKeyId, chat: CHAT };
    const token = await ground.tokenOf("org_admin", id);
    const foreign = await ground.manage("POST", "/policies/dry-run", { body, token });
    expect(foreign).toMatchObject({ status: 404, body: { code: "not_found" } });
  });
});
