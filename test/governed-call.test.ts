/**
 * One governed request, end to end: the official client, a real node, a provider nobody here wrote,
 * and PostgreSQL; the same for the source and for the executable, on the oldest and the newest
 * PostgreSQL.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { LLMock } from "@copilotkit/aimock";
import OpenAI from "openai";
import type { DemoCompany } from "../src/cli/demo-company.ts";
import {
  foundCompany,
  type NodeKind,
  nodeEnvironment,
  PROVIDER_KEY,
  runSpendra,
  startNode,
  type TestNode,
} from "./node.ts";
import { emptyDatabase, type TestDatabase, type TestedMajor } from "./postgres.ts";
import { type RecordingProvider, recordProvider } from "./recording-provider.ts";
import { waitUntil } from "./wait-until.ts";

/** Nano-dollars a token, as the price list says for gpt-4o-mini: $0.15 and $0.60 a million. */
const RATES = { input: 150n, output: 600n };
/** What the simulated provider is told to report; by hand 412 × 150 + 87 × 600. */
const USAGE = { prompt_tokens: 412, completion_tokens: 87, total_tokens: 499 };
const COST_NANO_USD = 412n * RATES.input + 87n * RATES.output;

const variants: [NodeKind, TestedMajor][] = [
  ["source", 18],
  ["source", 15],
  ["executable", 18],
  ["executable", 15],
];

describe.each(variants)("a governed call through the %s on PostgreSQL %d", (kind, version) => {
  let database: TestDatabase;
  let mock: LLMock;
  let provider: RecordingProvider;
  let company: DemoCompany;
  let node: TestNode;
  let client: OpenAI;

  beforeAll(async () => {
    database = await emptyDatabase({ version });
    const environment = nodeEnvironment(database.url, "/nonexistent");
    const migrated = await runSpendra(["migrate"], { kind, environment });
    expect(migrated.stderr).toBe("");
    expect(migrated.code).toBe(0);
    mock = new LLMock({ port: 0 });
    mock.onMessage("weather", {
      toolCalls: [{ name: "weather", arguments: '{"city":"Lisbon"}' }],
      usage: USAGE,
    });
    mock.onMessage("hello", { content: "Olá — good morning! 你好 🙂", usage: USAGE });
    await mock.start();
    provider = recordProvider(mock.url);
    company = await foundCompany(database.sql, provider.baseUrl);
    node = await startNode(database.url, { kind });
    client = new OpenAI({ baseURL: `${node.url}/v1`, apiKey: company.token, maxRetries: 0 });
  }, 60_000);

  afterAll(async () => {
    expect(await node.stop()).toBe(0);
    await provider.stop();
    await mock.stop();
    await database.drop();
  });

  test("in one piece has the provider's answer and its exact cost in the ledger", async () => {
    const { data, response, request_id } = await client.chat.completions
      .create({ model: "gpt-4o-mini", messages: [{ role: "user", content: "hello" }] })
      .withResponse();
    expect(data.choices[0]?.message.content).toBe("Olá — good morning! 你好 🙂");
    const requestId = response.headers.get("x-request-id") ?? "";
    expect(request_id).toBe(requestId);
    expect(response.headers.get("x-spendra-cost-usd")).toBe("0.000114");
    expect(response.headers.get("server-timing")).toContain("reserve;dur=");
    const entry = await entryOf(requestId);
    expect(entry.amount).toBe(COST_NANO_USD);
    expect(entry.reservationId).toBe(response.headers.get("x-spendra-reservation-id") ?? "");
    await expectBalancedBooks();
  });

  test("as a stream is byte for byte the provider's, and booked before it ends", async () => {
    const response = await postRaw({ stream: true, stream_options: { include_usage: true } });
    const bytes = Buffer.from(await response.arrayBuffer());
    expect(bytes.equals(lastAnswer())).toBe(true);
    const entry = await entryOf(response.headers.get("x-request-id") ?? "");
    expect(entry.amount).toBe(COST_NANO_USD);
    expect(entry.usageSource).toBe("provider");
    await expectBalancedBooks();
  });

  test("as a stream lacks only the usage chunk when it was not asked for", async () => {
    const response = await postRaw({ stream: true });
    const seen = await response.text();
    const sent = lastAnswer().toString();
    const usageChunk = sent.split("\n\n").find((event) => event.includes('"choices":[]')) ?? "?";
    expect(seen).toBe(sent.replace(`${usageChunk}\n\n`, ""));
    expect(seen).not.toContain('"prompt_tokens"');
    expect((await entryOf(response.headers.get("x-request-id") ?? "")).amount).toBe(COST_NANO_USD);
  });

  test("streams through the client event by event, tool calls included", async () => {
    const stream = client.chat.completions.stream({
      model: "gpt-4o-mini",
      messages: [{ role: "user", content: "weather" }],
      tools: [{ type: "function", function: { name: "weather", parameters: {} } }],
    });
    const final = await stream.finalChatCompletion();
    const [call] = final.choices[0]?.message.tool_calls ?? [];
    expect(call?.type === "function" ? call.function.arguments : "").toBe('{"city":"Lisbon"}');
    await expectBalancedBooks();
  });

  test("passes unknown fields and headers, and never the Spendra key", async () => {
    await postRaw({ n: 1, made_up: { a: [1, 2.5, "é"] } }, { "x-made-up": "yes" });
    const call = provider.calls.at(-1);
    expect(call?.body).toContain('"made_up":{"a":[1,2.5,"é"]}');
    expect(call?.body).toContain('"max_completion_tokens":4096');
    expect(call?.headers.get("x-made-up")).toBe("yes");
    expect(call?.headers.get("authorization")).toBe(`Bearer ${PROVIDER_KEY}`);
    expect(JSON.stringify([...(call?.headers ?? [])])).not.toContain(company.token);
  });

  test("lists only models that have a price", async () => {
    const models = await Array.fromAsync(client.models.list());
    expect(models.map(({ id }) => id)).toContain("gpt-4o-mini");
  });

  test("is told in one log line with the ids of all that it left behind", async () => {
    const response = await postRaw({});
    const requestId = response.headers.get("x-request-id") ?? "";
    const line = await waitUntil("the line is written", () =>
      node.lines.find((text) => text.includes(requestId)),
    );
    const entry = await entryOf(requestId);
    expect(JSON.parse(line)).toMatchObject({
      event: "gateway.request",
      level: "info",
      requestId,
      organizationId: company.organizationId,
      apiKeyId: company.apiKeyId,
      provider: "openai",
      model: "gpt-4o-mini",
      route: "/v1/chat/completions",
      status: 200,
      policyResult: "granted",
      reservationId: entry.reservationId,
      spendEventId: entry.spendEventId,
      ledgerEntryId: entry.id,
    });
  });

  function lastAnswer(): Buffer {
    return provider.calls.at(-1)?.answer ?? Buffer.alloc(0);
  }

  async function postRaw(fields: object, headers: Record<string, string> = {}): Promise<Response> {
    return await fetch(`${node.url}/v1/chat/completions`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${company.token}`,
        "content-type": "application/json",
        ...headers,
      },
      body: JSON.stringify({
        model: "gpt-4o-mini",
        messages: [{ role: "user", content: "hello" }],
        ...fields,
      }),
    });
  }

  async function entryOf(requestId: string) {
    const [entry] = await database.sql<
      {
        id: string;
        amount: bigint;
        reservationId: string;
        spendEventId: string;
        usageSource: string;
        links: number;
      }[]
    >`
      select
        e.id, e.amount_nano_usd as amount, e.reservation_id as "reservationId",
        e.spend_event_id as "spendEventId", s.usage_source as "usageSource"
      from ledger_entries e
      join spend_events s on s.organization_id = e.organization_id and s.id = e.spend_event_id
      join gateway_requests g on g.organization_id = e.organization_id and g.id = e.request_id
      join api_keys k on k.organization_id = e.organization_id and k.id = e.api_key_id
      where e.request_id = ${requestId}
    `;
    if (entry === undefined) {
      throw new Error(`there is no ledger entry of ${requestId}`);
    }
    return entry;
  }

  /** Nothing is held, and each window has settled what its entries say. */
  async function expectBalancedBooks(): Promise<void> {
    const windows = await database.sql<{ held: bigint; settled: bigint; booked: bigint }[]>`
      select
        w.held_nano_usd as held, w.settled_nano_usd as settled,
        (
          select coalesce(sum(e.amount_nano_usd), 0)::bigint
          from reservations r
          join ledger_entries e
            on e.organization_id = r.organization_id and e.reservation_id = r.id
          where r.organization_id = w.organization_id and w.id = any(r.window_ids)
        ) as booked
      from budget_windows w
    `;
    expect(windows.length).toBe(2);
    for (const window of windows) {
      expect(window.held).toBe(0n);
      expect(window.settled).toBe(window.booked);
      expect(window.settled).toBeGreaterThan(0n);
    }
    const held = await database.sql`select from reservations where status = 'held'`;
    expect(held.length).toBe(0);
  }
});
