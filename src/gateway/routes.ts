/** The whole inference surface on one screen. Everything that costs money goes to metered-call. */
import { PublicError } from "../errors.ts";
import { reportBudgets } from "./budget-report.ts";
import type { GatewayParts } from "./gateway-parts.ts";
import { handleGatewayRequest } from "./handle-request.ts";
import { meteredCall } from "./metered-call.ts";
import { listModels } from "./model-list.ts";
import type { PaidCall } from "./paid-call.ts";

type Answer = (call: PaidCall, parts: GatewayParts) => Promise<Response>;
type GatewayRoute = { readonly method: string; readonly path: string; readonly answer: Answer };

export const gatewayRoutes: readonly GatewayRoute[] = [
  { method: "POST", path: "/v1/chat/completions", answer: chatCompletions },
  { method: "GET", path: "/v1/models", answer: listModels },
  { method: "GET", path: "/v1/budget", answer: reportBudgets },
];

/** Answers any request below /v1, refusals included; never throws. */
export async function serveGateway(request: Request, parts: GatewayParts): Promise<Response> {
  const path = new URL(request.url).pathname;
  const route = gatewayRoutes.find((candidate) => candidate.path === path);
  const answer = route?.method === request.method ? route.answer : refusalOf(route);
  return await handleGatewayRequest(request, route?.path ?? "unknown", answer, parts);
}

function chatCompletions(call: PaidCall, parts: GatewayParts): Promise<Response> {
  return meteredCall(call, "openai", parts);
}

function refusalOf(route: GatewayRoute | undefined): Answer {
  return () =>
    Promise.reject(
      route === undefined
        ? new PublicError("unknown_route", "Spendra has no such route below /v1.")
        : new PublicError("method_not_allowed", `${route.path} takes ${route.method}.`, {
            allow: route.method,
          }),
    );
}
