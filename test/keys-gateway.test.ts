/**
 * What is written on a key holds at the gateway: changed through one node, it decides the very next
 * call at another. Rotation, last use and what a key has spent, over real nodes as well.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { DemoCompany } from "../src/cli/demo-company.ts";
import { GATED_USAGE, type GatedProvider, gateProvider } from "./gated-provider.ts";
import { ADMIN, foundCompany, startNode, type TestNode } from "./node.ts";
import { postChat } from "./node-calls.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";
import { waitUntil } from "./wait-until.ts";

type Key = {
  id: string;
  token: string;
  version: number;
  lastUsedAt: string | null;
  spentUsd: string;
};

const EVERY_MODEL = { allowedModels: ["*", "openrouter/*"], allowedProviders: [] };

let database: TestDatabase;
let provider: GatedProvider;
let company: DemoCompany;
let changing: TestNode;
let calling: TestNode;
let cookie: string;

beforeAll(async () => {
  database = await testDatabase();
  provider = gateProvider();
  provider.open();
  company = await foundCompany(database.sql, provider.baseUrl);
  [changing, calling] = await Promise.all([startNode(database.url), startNode(database.url)]);
  const response = await fetch(`${changing.url}/management/session`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ email: ADMIN.email, password: ADMIN.password }),
  });
  cookie = (response.headers.get("set-cookie") ?? "").split(";", 1)[0] ?? "";
}, 60_000);

afterAll(async () => {
  await Promise.all([changing, calling].map((node) => node.stop()));
  await provider.stop();
  await database.drop();
});

async function manage<Made = Key>(
  method: string,
  path: string,
  body?: object,
  version?: number,
): Promise<Made> {
  const response = await fetch(`${changing.url}/management${path}`, {
    method,
    headers: {
      cookie,
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...(version === undefined ? {} : { "if-match": `"${version}"` }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  expect(response.ok).toBe(true);
  return (await response.json()) as Made;
}

async function createKey(): Promise<Key> {
  const actor = { kind: "employee", id: company.employeeId };
  const fields = { environment: "production", ...EVERY_MODEL };
  const key = await manage("POST", "/api-keys", { name: "K", actor, ...fields });
  // The calling node remembers it from now on.
  expect(await codeOf(key.token)).toBe("granted");
  return key;
}

async function codeOf(token: string, fields: object = {}): Promise<string> {
  const response = await postChat(calling, token, fields);
  const body = (await response.json()) as { error?: { code: string } };
  return response.ok ? "granted" : `${response.status} ${body.error?.code}`;
}

describe("a change of a key decides the next call at another node", () => {
  const inAMoment = (): string => new Date(Date.now() + 300).toISOString();

  test.each<[string, () => object, string]>([
    ["F20: providers", () => ({ allowedProviders: ["openrouter"] }), "403 provider_not_allowed"],
    ["F21: models", () => ({ allowedModels: ["gpt-4o"] }), "403 model_not_allowed"],
    [
      "F24, F25: a grant of another provider's model",
      () => ({ allowedModels: ["openrouter/gpt-4o-mini"] }),
      "403 model_not_allowed",
    ],
    [
      "F27: the most that one request may cost",
      () => ({ reservationMaxUsd: "0.000000001" }),
      "403 per_request_limit_exceeded",
    ],
    ["F32: switched off", () => ({ isActive: false }), "401 key_inactive"],
    ["F30: expiry", () => ({ expiresAt: inAMoment() }), "401 key_expired"],
  ])("%s", async (_, change, code) => {
    const key = await createKey();
    const callsBefore = provider.count();
    await manage("PATCH", `/api-keys/${key.id}`, change(), 1);
    if (code.endsWith("key_expired")) {
      await waitUntil("it has expired", async () => (await codeOf(key.token)) !== "granted");
    } else {
      expect(await codeOf(key.token)).toBe(code);
      expect(provider.count()).toBe(callsBefore);
    }
    expect(await codeOf(key.token)).toBe(code);
    const back = { ...EVERY_MODEL, reservationMaxUsd: null, isActive: true, expiresAt: null };
    await manage("PATCH", `/api-keys/${key.id}`, back, 2);
    expect(await codeOf(key.token)).toBe("granted");
  });

  test("F31: revocation", async () => {
    const key = await createKey();
    await manage("POST", `/api-keys/${key.id}/revoke`, undefined, 1);
    expect(await codeOf(key.token)).toBe("401 key_revoked");
  });

  test("F26: a project that it is bound to caps it, and only then", async () => {
    const key = await createKey();
    const project = await manage("POST", "/projects", { name: "Small" });
    const scope = { kind: "project", id: project.id };
    await capOf(scope, "0.000000001");
    expect(await codeOf(key.token)).toBe("granted");
    await manage("PATCH", `/api-keys/${key.id}`, { projectId: project.id }, 1);
    expect(await codeOf(key.token)).toBe("402 budget_exceeded");
  });

  test("F28: a budget that is bound to the key holds, also after a rotation", async () => {
    const [key, other] = [await createKey(), await createKey()];
    await capOf({ kind: "api_key", id: key.id }, "0.000000001");
    expect(await codeOf(key.token)).toBe("402 budget_exceeded");
    expect(await codeOf(other.token)).toBe("granted");
    const path = `/api-keys/${key.id}/rotate`;
    const rotated = await manage("POST", path, { overlapSeconds: 60 }, 1);
    expect(await codeOf(rotated.token)).toBe("402 budget_exceeded");
    expect(await codeOf(key.token)).toBe("402 budget_exceeded");
  });
});

async function capOf(scope: object, amountUsd: string): Promise<void> {
  const budget = { name: "Small", scope, amountUsd, period: "lifetime" };
  const { id: budgetId } = await manage("POST", "/budgets", budget);
  await manage("POST", "/policies", { name: "Cap", kind: "hard_cap", budgetId });
}

describe("a rotated key", () => {
  test("opens the other node with both tokens in the overlap, and books on one key", async () => {
    const key = await createKey();
    const rotated = await manage("POST", `/api-keys/${key.id}/rotate`, { overlapSeconds: 60 }, 1);
    for (const token of [key.token, rotated.token, key.token, rotated.token]) {
      expect(await codeOf(token)).toBe("granted");
    }
    const [booked] = await database.sql<[{ events: number }]>`
      select count(*)::int as events from spend_events where api_key_id = ${key.id}
    `;
    expect(booked.events).toBe(5);
  });

  test("without an overlap opens nothing with the old token, where it is remembered", async () => {
    const key = await createKey();
    const { token } = await manage("POST", `/api-keys/${key.id}/rotate`, { overlapSeconds: 0 }, 1);
    expect(await codeOf(token)).toBe("granted");
    expect(await codeOf(key.token)).toBe("401 invalid_api_key");
  });

  test("keeps its old token shut after a rotation that nobody has used yet", async () => {
    const key = await createKey();
    await manage("POST", `/api-keys/${key.id}/rotate`, { overlapSeconds: 0 }, 1);
    expect(await codeOf(key.token)).toBe("401 invalid_api_key");
  });

  test("loses its old token at the end of the overlap by itself", async () => {
    const key = await createKey();
    await manage("POST", `/api-keys/${key.id}/rotate`, { overlapSeconds: 1 }, 1);
    expect(await codeOf(key.token)).toBe("granted");
    await waitUntil("the overlap has ended", async () => (await codeOf(key.token)) !== "granted");
    expect(await codeOf(key.token)).toBe("401 invalid_api_key");
  });
});

test("what a key has spent and when it was last used is shown by every node", async () => {
  const key = await createKey();
  const calls = 4;
  const startedAt = new Date().toISOString();
  for (let call = 1; call < calls; call++) {
    await codeOf(key.token);
  }
  const price = (GATED_USAGE.prompt_tokens * 150 + GATED_USAGE.completion_tokens * 600) / 1e9;
  const shown = await manage("GET", `/api-keys/${key.id}`);
  expect(Number(shown.spentUsd)).toBeCloseTo(calls * price, 12);
  expect(shown.lastUsedAt).toBeNull();
  // A node that stops writes what it knows; a running one does so once a minute.
  await calling.stop();
  const { lastUsedAt } = await manage("GET", `/api-keys/${key.id}`);
  expect((lastUsedAt ?? "") > startedAt).toBe(true);
  calling = await startNode(database.url);
}, 30_000);
