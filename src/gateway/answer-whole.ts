/**
 * An answer that comes in one piece: the provider's status and body, unchanged, delivered after the
 * cost is booked. A provider's refusal sold nothing, so its hold is released. Whether the caller is
 * still there is not asked: the answer is sold as a whole, so it is read to its end and booked
 * exactly, whatever SPENDRA_ON_DISCONNECT says.
 */
import { PublicError } from "../errors.ts";
import type { Upstream } from "../providers/upstream.ts";
import type { ReadUsage } from "../usage/buckets.ts";
import { readOpenAiChatUsage } from "../usage/openai-chat.ts";
import { answerHeaders } from "./answer-headers.ts";
import { releaseCall, settleByEstimate, settleByUsage } from "./end-call.ts";
import type { GatewayParts } from "./gateway-parts.ts";
import type { PaidCall } from "./paid-call.ts";

/** RFC 9110 §15 knows no higher one, and neither does a `Response`. */
const STATUS_MAX = 599;
const ANSWER_BYTES_MAX = 64 * 1024 * 1024;

/** Throws `PublicError` `provider_error` when the answer breaks off; it is settled by then. */
export async function answerWhole(
  call: PaidCall,
  upstream: Upstream,
  parts: GatewayParts,
): Promise<Response> {
  const { response } = upstream;
  const body = await readWhole(call, upstream, parts);
  if (response.status > STATUS_MAX) {
    const refusal = new PublicError("provider_error", "The provider's status is none of HTTP's.");
    await releaseCall(call, parts, refusal.status, refusal.code);
    throw refusal;
  }
  if (!response.ok) {
    parts.metrics.providerErrors.inc({
      provider: call.provider ?? "other",
      error_class: `status_${Math.floor(response.status / 100)}xx`,
    });
    await releaseCall(call, parts, response.status, null);
    call.lap("settle");
    const headers = answerHeaders(call, response.headers, { status: "released" });
    return new Response(body, { status: response.status, headers });
  }
  const usage = usageOf(body);
  const seen = { seenBytes: BigInt(body.length), reported: null };
  const receipt =
    usage === null
      ? await settleByEstimate(call, parts, response.status, null, seen)
      : await settleByUsage(call, parts, usage, response.status);
  call.lap("settle");
  const headers = answerHeaders(call, response.headers, { status: "settled", receipt });
  return new Response(body, { status: response.status, headers });
}

async function readWhole(
  call: PaidCall,
  upstream: Upstream,
  parts: GatewayParts,
): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const chunk of upstream.response.body ?? []) {
      chunks.push(chunk);
      length += chunk.length;
      if (length > ANSWER_BYTES_MAX) {
        throw new Error("the provider's answer is larger than any answer can be");
      }
    }
  } catch (cause) {
    upstream.abort();
    upstream.finish();
    const refusal = new PublicError("provider_error", "The provider's answer broke off.", {
      cause,
    });
    // What was lost of a paid answer is unknown, so it is booked at its bound.
    const end = upstream.response.ok ? settleByEstimate : releaseCall;
    await end(call, parts, refusal.status, refusal.code);
    throw refusal;
  }
  upstream.finish();
  return Buffer.concat(chunks, length);
}

function usageOf(body: Uint8Array): ReadUsage | null {
  try {
    const answer: unknown = JSON.parse(new TextDecoder().decode(body));
    return typeof answer === "object" && answer !== null && "usage" in answer
      ? readOpenAiChatUsage(answer.usage)
      : null;
  } catch {
    // Not JSON: an answer without usage, settled by estimate.
    return null;
  }
}
