/**
 * A provider that keeps a book of its own: for every call that it took, what it used and so what it
 * will bill. It answers at once or slowly, whole or in pieces, refuses some calls and breaks some.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { json } from "node:stream/consumers";
import { type Random, randomOf } from "./random.ts";

/** One line of the provider's book. Refused calls cost nothing. */
export type Bill = {
  readonly callNo: number;
  readonly outcome: "served" | "broken_off" | "refused";
  readonly promptTokens: number;
  readonly completionTokens: number;
  /** How often this call came in: more than once would be somebody's retry. */
  times: number;
};

export type CountingProvider = {
  /** With `/v1`. */
  baseUrl: string;
  bills: Map<number, Bill>;
  stop(): Promise<void>;
};

/** The header by which a call is found again. */
export const CALL_NO_HEADER = "x-chaos-id";

const OVERAGE_TOKENS = 50;

/** What gpt-4o-mini costs: $0.15 and $0.60 a million tokens, so whole nano-dollars a token. */
export function priceOf({ promptTokens, completionTokens }: Bill): bigint {
  return BigInt(promptTokens) * 150n + BigInt(completionTokens) * 600n;
}

export async function serveAndCount(seed: number): Promise<CountingProvider> {
  const bills = new Map<number, Bill>();
  const server = createServer((request, response) => {
    answer(request, response, seed, bills).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return {
    baseUrl: `http://127.0.0.1:${port}/v1`,
    bills,
    stop: async () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  seed: number,
  bills: Map<number, Bill>,
): Promise<void> {
  const callNo = Number(request.headers[CALL_NO_HEADER]);
  const body = (await json(request)) as { stream?: boolean; max_tokens: number };
  const random = randomOf(seed + callNo * 7919);
  const bill = billOf(callNo, body.max_tokens, random);
  const known = bills.get(callNo);
  if (known === undefined) bills.set(callNo, bill);
  else known.times++;
  await Bun.sleep(random.between(0, 40));
  if (bill.outcome === "refused") {
    response.writeHead(500, { "content-type": "application/json" });
    response.end('{"error":{"message":"overloaded","type":"server_error"}}');
  } else if (body.stream === true) {
    await stream(response, bill, random);
  } else {
    await sendWhole(response, bill, random);
  }
}

function billOf(callNo: number, tokensMax: number, random: Random): Bill {
  const isOverage = random.chance(1);
  const isRefused = random.chance(3);
  const isBrokenOff = random.chance(2);
  return {
    callNo,
    outcome: isRefused ? "refused" : isBrokenOff ? "broken_off" : "served",
    promptTokens: random.between(1, 60),
    completionTokens: isOverage ? tokensMax + OVERAGE_TOKENS : random.between(1, 100),
    times: 1,
  };
}

function usageOf({ promptTokens, completionTokens }: Bill) {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
  };
}

async function sendWhole(response: ServerResponse, bill: Bill, random: Random): Promise<void> {
  if (random.chance(5)) await Bun.sleep(random.between(300, 2_000));
  const text = JSON.stringify({
    id: "chatcmpl-chaos",
    object: "chat.completion",
    choices: [{ index: 0, message: { role: "assistant", content: "words" } }],
    usage: usageOf(bill),
  });
  response.writeHead(200, { "content-type": "application/json" });
  if (bill.outcome === "served") {
    response.end(text);
    return;
  }
  response.write(text.slice(0, text.length / 2));
  await Bun.sleep(10);
  response.destroy();
}

async function stream(response: ServerResponse, bill: Bill, random: Random): Promise<void> {
  const chunks = random.between(2, 6);
  const pauseMs = random.chance(10) ? random.between(100, 500) : random.between(1, 15);
  const send = (fields: object): void => {
    const chunk = { id: "chatcmpl-chaos", object: "chat.completion.chunk", ...fields };
    response.write(`data: ${JSON.stringify(chunk)}\n\n`);
  };
  response.writeHead(200, { "content-type": "text/event-stream" });
  for (let index = 0; index < chunks; index++) {
    send({ choices: [{ index: 0, delta: { content: `word${index} ` } }] });
    await Bun.sleep(pauseMs);
  }
  if (bill.outcome === "broken_off") {
    response.destroy();
    return;
  }
  send({ choices: [], usage: usageOf(bill) });
  response.end("data: [DONE]\n\n");
}
