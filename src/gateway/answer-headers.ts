/** Spendra's own headers on an answer of the provider. */
import { formatUsd, type NanoUsd } from "../money.ts";
import type { Receipt } from "../reservations/settle.ts";
import { downstreamHeaders } from "./headers.ts";
import type { PaidCall } from "./paid-call.ts";

/** How far the call is when the headers are written; a stream's headers leave before its end. */
export type CallState =
  | { readonly status: "running" }
  | { readonly status: "released" }
  | { readonly status: "settled"; readonly receipt: Receipt };

/**
 * The provider's headers and Spendra's. The cost is known in a header only where the answer is
 * whole; of a stream it is in the request's record, or in its last comment if the caller asks.
 */
export function answerHeaders(call: PaidCall, provider: Headers, state: CallState): Headers {
  const headers = downstreamHeaders(provider);
  headers.set("x-request-id", call.requestId);
  headers.set("server-timing", call.serverTiming());
  if (call.held !== null) {
    const leftNanoUsd = call.held.leftNanoUsd + freedBy(state, call.held.amountNanoUsd);
    headers.set("x-spendra-reservation-id", call.held.id);
    headers.set("x-spendra-budget-remaining-usd", formatUsd(leftNanoUsd));
  }
  if (state.status === "settled") {
    headers.set("x-spendra-cost-usd", formatUsd(state.receipt.costNanoUsd));
  }
  return headers;
}

/** What the end of the call gave back of its hold; negative when it cost more than was held. */
function freedBy(state: CallState, heldNanoUsd: NanoUsd): NanoUsd {
  switch (state.status) {
    case "running":
      return 0n;
    case "released":
      return heldNanoUsd;
    case "settled":
      return heldNanoUsd - state.receipt.costNanoUsd;
  }
}
