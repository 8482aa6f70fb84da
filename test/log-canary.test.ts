/**
 * Marked words go in wherever a secret or a text of a caller can go in, and nowhere do they come
 * out again: not in a line of the node, not in a row of the database.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { formatToken, newSecret } from "../src/keys/token.ts";
import { ADMIN, foundCompany, nodeEnvironment, spendraCommand } from "./node.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";
import { openTcpProxy, type TcpProxy } from "./tcp-proxy.ts";
import { waitUntil } from "./wait-until.ts";

/** In every word that must not come out. */
const CANARY = "kanarienvogel";
const PROVIDER_KEY = `sk-proj-${CANARY}-0123456789abcdef`;
const METRICS_TOKEN = `${CANARY} is a part of this metrics token`;
const USAGE = { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 };

let database: TestDatabase;
let proxy: TcpProxy;
let provider: Server;
let directory: string;
let node: Bun.Subprocess<"ignore", "pipe", "pipe">;
let output: { stdout: string; stderr: string };
let url: string;
let metricsUrl: string;
let token: string;

beforeAll(async () => {
  database = await testDatabase();
  proxy = await openTcpProxy(database.url);
  provider = createServer(answerAsProvider);
  const listening = Promise.withResolvers<void>();
  provider.listen(0, "127.0.0.1", listening.resolve);
  await listening.promise;
  const { port } = provider.address() as AddressInfo;
  const baseUrl = `http://127.0.0.1:${port}/v1`;
  ({ token } = await foundCompany(database.sql, baseUrl));
  directory = await mkdtemp(join(tmpdir(), "spendra-canary-"));
  await startNode();
}, 60_000);

afterAll(async () => {
  node.kill("SIGKILL");
  await node.exited;
  await proxy.stop();
  provider.closeAllConnections();
  provider.close();
  await database.drop();
  await rm(directory, { recursive: true, force: true });
});

test("a marked word is in no line, in no row and in no file of the node", async () => {
  await tellEverySecret();
  await breakTheDatabase();
  node.kill("SIGTERM");
  expect(await node.exited).toBe(0);
  await waitUntil("all is read", () => output.stdout.includes("node.stopped"));

  expect(linesWith(output.stdout)).toEqual([]);
  expect(output.stderr).toBe("");
  expect(await readRowsWithCanary()).toEqual([]);
  expect(await readFilesWithCanary()).toEqual([]);
  // The calls did leave something behind, so that there was something to look through.
  const [counts] = await database.sql<[{ requests: number; entries: number }]>`
    select
      (select count(*)::int from gateway_requests) as requests,
      (select count(*)::int from ledger_entries) as entries
  `;
  expect(counts.requests).toBeGreaterThan(8);
  expect(counts.entries).toBeGreaterThan(1);
}, 60_000);

test("every line is JSON with an instant, a level and an event", () => {
  const lines = output.stdout.trimEnd().split("\n");
  expect(lines.length).toBeGreaterThan(15);
  for (const line of lines) {
    const parsed = JSON.parse(line) as Record<string, unknown>;
    expect(String(parsed["time"])).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    expect(["debug", "info", "warn", "error"]).toContain(String(parsed["level"]));
    expect(String(parsed["event"])).toMatch(/^[a-z_]+[. ][a-z_ ]+$/);
  }
});

test("a line of a request has its ids, its route as a template, status and duration", () => {
  const requests = output.stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter(({ event }) => event === "gateway.request");
  expect(requests.length).toBeGreaterThan(10);
  for (const request of requests) {
    expect(String(request["requestId"])).toMatch(/^req_/);
    expect(String(request["route"])).toMatch(/^(\/v1\/[a-z/]+|unknown)$/);
    expect(String(request["method"])).toBe("POST");
    expect(Number(request["status"])).toBeGreaterThanOrEqual(200);
    expect(Number(request["durationMs"])).toBeGreaterThan(0);
    expect(String(request["policyResult"])).toMatch(/^[a-z_]+$/);
  }
});

/** Each call carries the word in another place; what is answered does not matter here. */
async function tellEverySecret(): Promise<void> {
  const key = `Bearer ${token}`;
  const prompt = { messages: [{ role: "user", content: `my name is ${CANARY}` }] };
  const chat = { model: "gpt-4o-mini", max_tokens: 50, ...prompt };
  await post(JSON.stringify(chat), key);
  await post(JSON.stringify({ ...chat, stream: true }), key);
  await post(JSON.stringify({ ...chat, metadata: { [CANARY]: CANARY }, user: CANARY }), key);
  for (const failure of ["refusal", "breakdown", "not-json", "cut"]) {
    await post(JSON.stringify({ ...chat, failure }), key);
    await post(JSON.stringify({ ...chat, failure, stream: true }), key);
  }
  await post(`{"model":"gpt-4o-mini","messages":[{"role":"user","content":"${CANARY}`, key);
  await post(`${CANARY}`, key);
  await post(JSON.stringify({ ...chat, messages: CANARY }), key);
  await post(JSON.stringify({ ...chat, max_tokens: CANARY }), key);
  await post(`{"${CANARY}":1,"${CANARY}":2,"model":"gpt-4o-mini","messages":[]}`, key);
  await post(JSON.stringify({ ...chat, service_tier: CANARY }), key);
  await post(JSON.stringify({ ...chat, messages: [{ role: "user", content: "\u0000" }] }), key);
  await post(JSON.stringify(chat), `Bearer ${CANARY}`);
  await post(JSON.stringify(chat), `Basic ${CANARY}`);
  await post(
    JSON.stringify(chat),
    `Bearer ${formatToken(`key_${"0".repeat(26)}`, secret(), "live")}`,
  );
  await post(JSON.stringify(chat), key, { "x-api-key": CANARY, cookie: `session=${CANARY}` });
  await post(JSON.stringify(chat), key, { "x-request-id": CANARY, traceparent: CANARY });
  await post(JSON.stringify(chat), key, {}, `/v1/chat/completions?key=${CANARY}#${CANARY}`);
  await post(JSON.stringify(chat), key, {}, `/v1/${CANARY}/completions`);
  await post(JSON.stringify(chat), key, {}, `/${CANARY}`);
  await post(JSON.stringify(chat), "", {}, `/management/${CANARY}`);
  const signIn = { email: `${CANARY}@acme.example`, password: CANARY };
  await post(JSON.stringify(signIn), "", { origin: url }, "/management/session");
  await post(JSON.stringify({ ...ADMIN, password: CANARY }), "", {}, "/management/session");
  await post(`{"email":"${CANARY}`, "", { origin: url }, "/management/session");
  const cookie = `spendra_session=${CANARY}; __Host-spendra_session=${CANARY}`;
  await get(`${url}/management/budgets?cursor=${CANARY}`, { cookie });
  await get(`${url}/management/budgets?cursor=${CANARY}`, { authorization: `Bearer ${CANARY}` });
  await get(`${url}/health?${CANARY}`, {});
  await get(`${metricsUrl}/metrics`, { authorization: `Bearer ${CANARY}` });
}

/** Calls that end in errors of the database and of the driver. */
async function breakTheDatabase(): Promise<void> {
  const chat = { model: "gpt-4o-mini", messages: [{ role: "user", content: CANARY }] };
  const key = `Bearer ${token}`;
  await proxy.cut();
  await post(JSON.stringify(chat), key);
  await post(JSON.stringify({ ...ADMIN, password: CANARY }), "", {}, "/management/session");
  await get(`${url}/ready`, {});
  await proxy.restore();
  await waitUntil("it is ready", async () => (await fetch(`${url}/ready`)).status === 200);
  await post(JSON.stringify(chat), key);
}

async function post(
  body: string,
  authorization: string,
  headers: Record<string, string> = {},
  path = "/v1/chat/completions",
): Promise<void> {
  try {
    const response = await fetch(url + path, {
      method: "POST",
      headers: { "content-type": "application/json", "x-note": CANARY, authorization, ...headers },
      body,
    });
    await response.text();
  } catch {
    // A stream that the provider cut: its lines are what the test looks at.
  }
}

async function get(address: string, headers: Record<string, string>): Promise<void> {
  await (await fetch(address, { headers })).text();
}

/** 43 characters, as secrets have, with the word inside. */
function secret(): string {
  return (CANARY + newSecret()).slice(0, 43);
}

function answerAsProvider(request: IncomingMessage, response: ServerResponse): void {
  let text = "";
  request.setEncoding("utf8");
  request.on("data", (chunk: string) => {
    text += chunk;
  });
  request.on("end", () => {
    const body = JSON.parse(text) as Asked;
    const type = body.stream ? "text/event-stream" : "application/json";
    const error = { message: `Incorrect API key ${PROVIDER_KEY} of ${CANARY}`, param: CANARY };
    switch (body.failure) {
      case "refusal":
        response.writeHead(401, { "content-type": type, "x-request-id": CANARY });
        response.end(JSON.stringify({ error }));
        break;
      case "breakdown":
        response.writeHead(500, { "content-type": type }).end(JSON.stringify({ error }));
        break;
      case "not-json":
        response.writeHead(200, { "content-type": type }).end(`${CANARY} {`);
        break;
      case "cut":
        response.writeHead(200, { "content-type": type });
        response.write(`data: {"${CANARY}":1}\n\n`, () => response.destroy());
        break;
      case undefined:
        response.writeHead(200, { "content-type": type });
        response.end(body.stream ? streamed() : JSON.stringify(completion()));
    }
  });
}

type Asked = { failure?: "refusal" | "breakdown" | "not-json" | "cut"; stream?: boolean };

function completion(): object {
  const message = { role: "assistant", content: `hello ${CANARY}` };
  return { id: CANARY, choices: [{ index: 0, message }], usage: USAGE };
}

function streamed(): string {
  const chunk = { id: CANARY, choices: [{ index: 0, delta: { content: CANARY } }] };
  const events = [chunk, { choices: [], usage: USAGE }].map((event) => JSON.stringify(event));
  return [...events, "[DONE]"].map((event) => `data: ${event}\n\n`).join("");
}

async function startNode(): Promise<void> {
  node = Bun.spawn([...(await spendraCommand("source")), "serve"], {
    cwd: directory,
    env: {
      ...nodeEnvironment(proxy.url, join(directory, "state")),
      OPENAI_API_KEY: PROVIDER_KEY,
      SPENDRA_METRICS_BEARER_TOKEN: METRICS_TOKEN,
      SPENDRA_LOG_LEVEL: "debug",
    },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  output = { stdout: "", stderr: "" };
  collect(node.stdout, "stdout").catch(() => {});
  collect(node.stderr, "stderr").catch(() => {});
  const started = await waitUntil("the node has started", () => {
    if (node.exitCode !== null) throw new Error(`it ended: ${output.stderr}`);
    return output.stdout.split("\n").find((line) => line.includes("node.started"));
  });
  ({ address: url, metricsAddress: metricsUrl } = JSON.parse(started) as {
    address: string;
    metricsAddress: string;
  });
}

async function collect(
  stream: ReadableStream<Uint8Array>,
  into: "stdout" | "stderr",
): Promise<void> {
  const decoder = new TextDecoder();
  for await (const bytes of stream) {
    output[into] += decoder.decode(bytes, { stream: true });
  }
}

function linesWith(text: string): string[] {
  return text.split("\n").filter(holdsCanary);
}

/** The word itself, and what it looks like in base64 or as hexadecimal bytes of a `bytea`. */
function holdsCanary(text: string): boolean {
  const lower = text.toLowerCase();
  const forms = [CANARY, Buffer.from(CANARY).toString("hex"), token.slice(-43).toLowerCase()];
  return forms.some((form) => lower.includes(form));
}

/** Every row of every table, as text. */
async function readRowsWithCanary(): Promise<string[]> {
  const { sql } = database;
  const tables = await sql<{ name: string }[]>`
    select table_name as name from information_schema.tables
    where table_schema = 'public' and table_type = 'BASE TABLE'
  `;
  expect(tables.length).toBeGreaterThan(20);
  const found: string[] = [];
  for (const { name } of tables) {
    const rows = await sql<{ text: string }[]>`select t::text as text from ${sql(name)} t`;
    found.push(
      ...rows.filter(({ text }) => holdsCanary(text)).map(({ text }) => `${name} ${text}`),
    );
  }
  return found;
}

/** Every file of the state directory: the spool must not hold texts of callers either. */
async function readFilesWithCanary(): Promise<string[]> {
  const files = await readdir(directory, { recursive: true, withFileTypes: true });
  const found: string[] = [];
  for (const file of files.filter((entry) => entry.isFile())) {
    const path = join(file.parentPath, file.name);
    if (holdsCanary(await readFile(path, "latin1"))) found.push(path);
  }
  return found;
}
