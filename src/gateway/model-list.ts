/** `GET /v1/models`: what the presented key may use and what has a price, in OpenAI's shape. */
import { isGranted } from "../keys/model-grant.ts";
import { authenticate } from "./authenticate-call.ts";
import { bearerToken } from "./bearer-token.ts";
import type { GatewayParts } from "./gateway-parts.ts";
import type { PaidCall } from "./paid-call.ts";

/** Models carry no creation time in the price list; OpenAI's clients want a number. */
const CREATED_SECONDS = 0;

/** Throws `PublicError` when the key opens nothing. */
export async function listModels(call: PaidCall, parts: GatewayParts): Promise<Response> {
  const authority = await authenticate(call, bearerToken(call.httpRequest), parts);
  const { apiKey, policies, providerAccounts } = authority;
  const grants = [apiKey.allowedModels, ...policies.allowlists.map(({ models }) => models)];
  const data = [];
  for (const provider of providerAccounts.keys()) {
    if (apiKey.allowedProviders.length > 0 && !apiKey.allowedProviders.includes(provider)) {
      continue;
    }
    for (const model of parts.priceBook.modelsOf(provider)) {
      if (grants.every((list) => list === null || isGranted(list, provider, model))) {
        data.push({ id: model, object: "model", created: CREATED_SECONDS, owned_by: provider });
      }
    }
  }
  return Response.json({ object: "list", data }, { headers: { "x-request-id": call.requestId } });
}
