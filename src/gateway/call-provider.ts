/**
 * Calls the provider for an admitted request. When there is no answer, the hold is ended by what is
 * known: released if the provider cannot have seen the call, settled by estimate if it may have.
 */
import { PublicError } from "../errors.ts";
import { callUpstream, type Upstream, UpstreamError } from "../providers/upstream.ts";
import type { Admission } from "./admit.ts";
import type { ChatRequest } from "./chat-request.ts";
import { spliceChatBody } from "./chat-splice.ts";
import { releaseCall, settleByEstimate } from "./end-call.ts";
import type { GatewayParts } from "./gateway-parts.ts";
import { upstreamHeaders } from "./headers.ts";
import type { PaidCall } from "./paid-call.ts";
import { CALL_TIMEOUT_MS, FIRST_BYTE_TIMEOUT_MS } from "./time-limits.ts";

/** Throws `PublicError` `provider_error` or `provider_timeout` after the hold has been ended. */
export async function callProvider(
  call: PaidCall,
  chat: ChatRequest,
  admission: Admission,
  token: string,
  parts: GatewayParts,
): Promise<Upstream> {
  const { connection, bounds } = admission;
  const { provider } = connection;
  const credentials = provider.credentialHeaders(connection.secret);
  const startedMs = parts.clock.monotonicMs();
  parts.metrics.overheadSeconds.observe(call.durationMs / 1000);
  try {
    const upstream = await callUpstream({
      url: provider.chatCompletionsUrl(connection.baseUrl),
      headers: upstreamHeaders(call.httpRequest.headers, credentials, token),
      body: spliceChatBody(chat, bounds, provider.completionLimitField),
      firstByteTimeoutMs: FIRST_BYTE_TIMEOUT_MS,
      totalTimeoutMs: CALL_TIMEOUT_MS,
    });
    const waitedMs = parts.clock.monotonicMs() - startedMs;
    parts.metrics.providerFirstByteSeconds.observe({ provider: provider.id }, waitedMs / 1000);
    return upstream;
  } catch (error) {
    throw await endUnanswered(call, provider.id, error, parts);
  }
}

export function isEventStream(response: Response): boolean {
  return response.ok && (response.headers.get("content-type") ?? "").includes("event-stream");
}

async function endUnanswered(
  call: PaidCall,
  provider: string,
  error: unknown,
  parts: GatewayParts,
): Promise<PublicError> {
  const failure = error instanceof UpstreamError ? error.failure : "not_sent";
  parts.metrics.providerErrors.inc({ provider, error_class: failure });
  const refusal = refusalOf(failure, provider, error);
  const end = failure === "not_sent" ? releaseCall : settleByEstimate;
  await end(call, parts, refusal.status, refusal.code);
  return refusal;
}

function refusalOf(
  failure: UpstreamError["failure"],
  provider: string,
  cause: unknown,
): PublicError {
  return failure === "timeout"
    ? new PublicError("provider_timeout", `${provider} did not answer in time.`, { cause })
    : new PublicError("provider_error", `${provider} could not be reached.`, { cause });
}
