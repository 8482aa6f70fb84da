/**
 * A company whose calls run through real gateway code of two nodes that have not heard of any
 * change, with the management API beside it on the same movable clock.
 */
import { openBuiltInPriceBook } from "../src/catalog/built-in.ts";
import type { DemoCompany } from "../src/cli/demo-company.ts";
import type { GatewayParts } from "../src/gateway/gateway-parts.ts";
import { serveGateway } from "../src/gateway/routes.ts";
import { RunningCalls } from "../src/gateway/running-calls.ts";
import type { Role } from "../src/identity/capability.ts";
import { createAuthenticator } from "../src/keys/authenticate.ts";
import { deriveKeyHmacKey } from "../src/keys/token.ts";
import { openAi } from "../src/providers/openai.ts";
import { Secret } from "../src/secret.ts";
import { type Answer, addMember, openManagement } from "./acme.ts";
import { gateProvider } from "./gated-provider.ts";
import { ENCRYPTION_KEY, foundCompany, PROVIDER_KEY } from "./node.ts";
import { type TestedMajor, testDatabase } from "./postgres.ts";
import { openTestWriter } from "./test-writer.ts";

type Body = Record<string, unknown>;
export type Managed = { status: number; headers: Headers; body: Body };
export type Ground = Awaited<ReturnType<typeof openGround>>;

/** The prompt of `ask` and its 100 completion tokens, held at gpt-4o-mini's price. */
export const CHAT = {
  model: "gpt-4o-mini",
  max_tokens: 100,
  messages: [{ role: "user", content: "hello" }],
};
/** A token a byte at $0.15 a million, and 100 at $0.60. */
export const BOUND_NANO_USD = BigInt(JSON.stringify(CHAT).length) * 150n + 100n * 600n;
/** 10 and 5 tokens, as the gated provider reports them. */
export const COST_NANO_USD = 10n * 150n + 5n * 600n;

export async function openGround(options: { version?: TestedMajor } = {}) {
  const database = await testDatabase(options);
  const { sql } = database;
  const provider = gateProvider();
  provider.open();
  const company = await foundCompany(sql, provider.baseUrl);
  const api = openManagement(sql);
  const written = await openTestWriter(database.url);
  const clock = { now: () => api.time.now, monotonicMs: () => performance.now() };
  const nodes = [1, 2].map((): GatewayParts => {
    const hmacKey = deriveKeyHmacKey(new Secret(ENCRYPTION_KEY));
    return {
      sql,
      authenticator: createAuthenticator({ sql, clock, hmacKey }),
      priceBook: openBuiltInPriceBook([openAi.id]),
      providers: new Map([[openAi.id, openAi]]),
      providerSecrets: new Map([["OPENAI_API_KEY", new Secret(PROVIDER_KEY)]]),
      writer: written.writer,
      running: new RunningCalls(written.metrics),
      drainLimits: { timeoutMs: 1_000, tokensMax: 1_000 },
      clock,
      log: { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} },
      metrics: written.metrics,
      nodeId: "nod_01KAJ3M0000000000000000000",
      isDraining: () => false,
    };
  });
  const memberOf = async (role: Role, organizationId: string) =>
    await addMember(sql, { organizationId, role, now: api.time.now });
  const { token: admin, userId: adminId } = await memberOf("org_admin", company.organizationId);
  const tokenOf = async (role: Role, organizationId = company.organizationId) =>
    (await memberOf(role, organizationId)).token;
  return {
    ...{ database, sql, provider, company, api, nodes, adminId, tokenOf },
    send: (path: string, init: RequestInit, node = 0) => send(nodes, company, path, init, node),
    ask: (fields: object = {}, node = 0) =>
      send(nodes, company, "/v1/chat/completions", chat(fields), node),
    manage: manager(api, admin),
    close: async () => {
      await written.close();
      await provider.stop();
      await database.drop();
    },
  };
}

function chat(fields: object): RequestInit {
  const { headers = {}, ...rest } = fields as { headers?: Record<string, string> };
  const body = JSON.stringify({ ...CHAT, ...rest });
  return { method: "POST", body, headers: { "content-type": "application/json", ...headers } };
}

async function send(
  nodes: readonly GatewayParts[],
  { token }: DemoCompany,
  path: string,
  init: RequestInit,
  node: number,
): Promise<Response> {
  const request = new Request(`http://127.0.0.1${path}`, init);
  request.headers.set("authorization", `Bearer ${token}`);
  const parts = nodes[node];
  if (parts === undefined) {
    throw new Error("there are two nodes");
  }
  return await serveGateway(request, parts);
}

/** A call of the management API; `version` is sent as `If-Match`. */
function manager(api: ReturnType<typeof openManagement>, admin: string) {
  return async (
    method: string,
    path: string,
    options: { body?: unknown; version?: number | string; token?: string } = {},
  ): Promise<Managed> => {
    const { body, version, token = admin } = options;
    const headers = version === undefined ? {} : { "if-match": `"${version}"` };
    const answer: Answer = await api.call(method, path, { token, body, headers });
    return { ...answer, body: answer.body as Body };
  };
}

/** The refusal's code and details. */
export async function refusalIn(response: Response) {
  const { error } = (await response.json()) as {
    error: { code: string; message: string; details: Record<string, unknown> };
  };
  return { status: response.status, ...error };
}

export function sorted(numbers: readonly number[]): readonly number[] {
  return [...numbers].sort((left, right) => left - right);
}
