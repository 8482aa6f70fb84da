/**
 * The demo's one call: a real OpenAI client, streaming, through the node that was just started, and
 * what the database says of it afterwards.
 */
import { formatUsd } from "../money.ts";
import type { RunningDemo } from "./demo-node.ts";
import {
  type BookedCallRow,
  type BudgetLeftRow,
  bookedCallFind,
  reservationWindows,
} from "./demo-queries.ts";

/** What was asked, answered and booked. */
export type DemoCall = {
  readonly model: string;
  readonly question: string;
  readonly answer: string;
  readonly booked: BookedCallRow;
  readonly budgets: readonly BudgetLeftRow[];
};

const MODEL = "gpt-4o-mini";
const QUESTION = "In two sentences: why should a spending limit be reserved before a call is made?";
const COMPLETION_TOKENS_MAX = 200;
const CALL_TIMEOUT_MS = 60_000;

/** Rejects with a message for a person when the call was not answered, or is not booked. */
export async function makeDemoCall(demo: RunningDemo, signal: AbortSignal): Promise<DemoCall> {
  // Loaded here, so that no other command waits for it.
  const { default: OpenAI } = await import("openai");
  const client = new OpenAI({
    baseURL: `${demo.url}/v1`,
    apiKey: demo.company.token,
    maxRetries: 0,
    timeout: CALL_TIMEOUT_MS,
    // OPENAI_LOG would print to standard output, which is the result's.
    logLevel: "off",
  });
  const request = {
    model: MODEL,
    messages: [{ role: "user" as const, content: QUESTION }],
    max_completion_tokens: COMPLETION_TOKENS_MAX,
    stream: true as const,
  };
  let answer = "";
  let reservationId = "";
  try {
    const called = await client.chat.completions.create(request, { signal }).withResponse();
    reservationId = called.response.headers.get("x-spendra-reservation-id") ?? "";
    for await (const chunk of called.data) {
      answer += chunk.choices[0]?.delta.content ?? "";
    }
  } catch (error) {
    throw unanswered(error, demo.providerName);
  }
  const { organizationId } = demo.company;
  const booked = await bookedCallFind(demo.sql, { organizationId, reservationId });
  if (booked === null) {
    throw new Error(`the call was answered, but reservation ${reservationId} is not booked`);
  }
  const budgets = await reservationWindows(demo.sql, { organizationId, reservationId });
  return { model: MODEL, question: QUESTION, answer, booked, budgets };
}

/** The one line that `--json` prints, for a program. */
export function describeForProgram(demo: RunningDemo, { booked }: DemoCall): string {
  return JSON.stringify({
    baseUrl: `${demo.url}/v1`,
    apiKey: demo.company.token,
    dashboardUrl: `${demo.url}/`,
    docsUrl: `${demo.url}/docs`,
    adminEmail: demo.admin.email,
    adminPassword: demo.admin.password,
    databaseUrl: demo.databaseUrl,
    requestId: booked.requestId,
    reservationId: booked.reservationId,
    ledgerEntryId: booked.ledgerEntryId,
    costUsd: formatUsd(booked.costNanoUsd),
  });
}

function unanswered(error: unknown, providerName: string): Error {
  const reason = error instanceof Error ? error.message : "no reason given";
  const mending =
    providerName === "OpenAI"
      ? "Correct OPENAI_API_KEY or the network, or unset it: a simulator then plays OpenAI."
      : "Run it again with --verbose to see the node's own log.";
  return new Error(`the call was not answered: ${reason}\n${mending}`, { cause: error });
}
