/**
 * One paid request, from the key to the end of the answer. This file is the table of contents; each
 * step's own file has the details.
 *
 *   authenticate → resolve → estimate → reserve → call → stream → price, settle → deliver
 *
 * Whatever is refused before the call causes no traffic to the provider and no ledger entry.
 */
import { admit } from "./admit.ts";
import { answerStreaming } from "./answer-streaming.ts";
import { answerWhole } from "./answer-whole.ts";
import { authenticate } from "./authenticate-call.ts";
import { bearerToken } from "./bearer-token.ts";
import { callProvider, isEventStream } from "./call-provider.ts";
import { parseChatRequest } from "./chat-request.ts";
import type { GatewayParts } from "./gateway-parts.ts";
import type { PaidCall } from "./paid-call.ts";
import { readBodyText } from "./request-body.ts";

/** Throws `PublicError` for everything that ends the request before there is an answer. */
export async function meteredCall(
  call: PaidCall,
  provider: string,
  parts: GatewayParts,
): Promise<Response> {
  const token = bearerToken(call.httpRequest);
  await authenticate(call, token, parts);
  const chat = parseChatRequest(await readBodyText(call.httpRequest));
  call.describe(provider, chat.body.model, chat.isStreaming);
  call.lap("auth");

  const admission = await admit(call, chat, provider, token, parts);
  call.hold(admission.held);
  call.lap("reserve");

  const upstream = await callProvider(call, chat, admission, token, parts);
  call.lap("provider");

  return isEventStream(upstream.response)
    ? answerStreaming(call, chat, upstream, parts)
    : await answerWhole(call, upstream, parts);
}
