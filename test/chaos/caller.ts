/** Applications that make calls without retries and write down how each one ended for them. */
import { CALL_NO_HEADER } from "./counting-provider.ts";
import { type Random, randomOf } from "./random.ts";

/** How a call ended in the eyes of its caller. */
export type CallEnd =
  /** A whole answer: the JSON, or the stream to its `[DONE]`. */
  | { readonly kind: "delivered"; readonly reservationId: string; readonly costUsd: string | null }
  | { readonly kind: "answered"; readonly status: number; readonly code: string }
  | { readonly kind: "broken" }
  | { readonly kind: "left" };

export type Call = { readonly callNo: number; end: CallEnd };

/** Added to a call's number, it is the output limit: by it the reservation is found again. */
export const TOKENS_MAX_BASE = 100;

const CALL_TIMEOUT_MS = 40_000;

export async function makeCall(
  callNo: number,
  url: string,
  token: string,
  seed: number,
): Promise<CallEnd> {
  const random = randomOf(seed * 31 + callNo);
  const isStreaming = random.chance(50);
  const leaves = isStreaming && random.chance(5);
  try {
    const response = await fetch(`${url}/v1/chat/completions`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${token}`,
        "content-type": "application/json",
        [CALL_NO_HEADER]: `${callNo}`,
      },
      body: JSON.stringify(bodyOf(callNo, isStreaming, random)),
      signal: AbortSignal.timeout(CALL_TIMEOUT_MS),
    });
    return leaves && response.ok ? await leave(response) : await readToEnd(response, isStreaming);
  } catch {
    return { kind: "broken" };
  }
}

function bodyOf(callNo: number, isStreaming: boolean, random: Random) {
  return {
    model: "gpt-4o-mini",
    max_tokens: TOKENS_MAX_BASE + callNo,
    messages: [{ role: "user", content: "What becomes of me?" }],
    ...(isStreaming ? { stream: true } : {}),
    ...(isStreaming && random.chance(50) ? { stream_options: { include_usage: true } } : {}),
  };
}

/** Reads one piece and goes away, as a person does who closes the page. */
async function leave(response: Response): Promise<CallEnd> {
  const reader = response.body?.getReader();
  await reader?.read();
  await reader?.cancel();
  return { kind: "left" };
}

async function readToEnd(response: Response, isStreaming: boolean): Promise<CallEnd> {
  const text = await response.text();
  if (!response.ok) {
    return { kind: "answered", status: response.status, code: codeOf(text) };
  }
  const isWhole = isStreaming ? text.endsWith("data: [DONE]\n\n") : JSON.parse(text) !== null;
  if (!isWhole) return { kind: "broken" };
  return {
    kind: "delivered",
    reservationId: response.headers.get("x-spendra-reservation-id") ?? "",
    costUsd: response.headers.get("x-spendra-cost-usd"),
  };
}

function codeOf(text: string): string {
  const code: unknown = (JSON.parse(text) as { error?: { code?: unknown } }).error?.code;
  return typeof code === "string" ? code : "none";
}
