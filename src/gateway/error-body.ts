/**
 * Refusals and failures in the dialect of the route. A refusal for money must not look retryable:
 * OpenAI's clients repeat 408, 409, 429 and 5xx, so it is a 402, and says so in `x-should-retry`.
 */
import type { PublicError } from "../errors.ts";

/** `{"error": {...}}` as OpenAI's clients read it, with the request id and the facts. */
export function openAiErrorResponse(error: PublicError, requestId: string): Response {
  const headers = new Headers({
    "content-type": "application/json",
    "x-request-id": requestId,
  });
  if (error.retryAfterSeconds !== null) {
    headers.set("retry-after", String(error.retryAfterSeconds));
  }
  if (error.allow !== null) {
    headers.set("allow", error.allow);
  }
  if (error.status < 500 && error.retryAfterSeconds === null) {
    headers.set("x-should-retry", "false");
  }
  const body = openAiErrorBody(error, requestId);
  return new Response(JSON.stringify(body), { status: error.status, headers });
}

/** The same as the last event of a stream that has begun: its status is on its way already. */
export function openAiErrorEvent(error: PublicError, requestId: string): Uint8Array {
  const body = openAiErrorBody(error, requestId);
  return new TextEncoder().encode(`data: ${JSON.stringify(body)}\n\n`);
}

function openAiErrorBody(error: PublicError, requestId: string) {
  return {
    error: {
      message: error.message,
      type: error.type,
      code: error.code,
      param: error.param,
      request_id: requestId,
      details: error.details,
    },
  };
}
