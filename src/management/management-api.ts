/**
 * The management API: every resource in one list, and what holds for all of them: origin check,
 * CORS, request id, one log line a request. Wired into the server by app.ts.
 */
import { newId } from "../id.ts";
import { SignInThrottle } from "../identity/sign-in-throttle.ts";
import { alertResource } from "./alert-routes.ts";
import { apiKeyResource } from "./api-key-routes.ts";
import { auditResource } from "./audit-routes.ts";
import { serviceTokenResource } from "./automation-token-routes.ts";
import { blockResource } from "./block-routes.ts";
import { budgetResource } from "./budget-routes.ts";
import { openCallers } from "./callers.ts";
import { capabilityResource } from "./capability-routes.ts";
import type { Dependencies, Given } from "./dependencies.ts";
import { directoryResources } from "./directory-routes.ts";
import type { Exchange } from "./endpoint.ts";
import { invitationResource } from "./invitation-routes.ts";
import { ledgerEntryResource } from "./ledger-entry-routes.ts";
import { memberResource } from "./member-routes.ts";
import { onboardingResource } from "./onboarding-routes.ts";
import { describeApi } from "./open-api.ts";
import { addCorsHeaders, refuseForeignOrigin } from "./origin.ts";
import { policyResource } from "./policy-routes.ts";
import { requestResource } from "./request-routes.ts";
import { reservationResource } from "./reservation-routes.ts";
import { reviewResource } from "./review-routes.ts";
import { answerRefusal, createRouter, type Router } from "./router.ts";
import { sessionCookieName } from "./session-cookie.ts";
import { sessionResource } from "./session-routes.ts";
import { settlementResource } from "./settlement-routes.ts";
import { usageResource } from "./usage-routes.ts";

export type Management = {
  /** Answers every request under /management; never rejects. */
  handle(request: Request, clientAddress: string): Promise<Response>;
  /** The OpenAPI 3.0 document of the whole server, for /openapi.json. */
  openApiDocument(): Promise<unknown>;
};

export function createManagement(given: Given): Management {
  const dependencies: Dependencies = {
    ...given,
    callers: openCallers(given),
    signInThrottle: new SignInThrottle(),
  };
  const { clock, config } = dependencies;
  const router = createRouter([
    onboardingResource(dependencies),
    sessionResource(dependencies),
    memberResource(dependencies),
    invitationResource(dependencies),
    capabilityResource(dependencies),
    serviceTokenResource(dependencies),
    apiKeyResource(dependencies),
    blockResource(dependencies),
    budgetResource(dependencies),
    policyResource(dependencies),
    reviewResource(dependencies),
    ledgerEntryResource(dependencies),
    reservationResource(dependencies),
    settlementResource(dependencies),
    requestResource(dependencies),
    usageResource(dependencies),
    alertResource(dependencies),
    auditResource(dependencies),
    ...directoryResources(dependencies),
  ]);
  return {
    handle: async (request, clientAddress) => {
      const startedMs = clock.monotonicMs();
      const exchange = newExchange(request, clientAddress, clock.now());
      const answered = await answer(router, exchange, config);
      const headers = new Headers(answered.headers);
      headers.set("x-request-id", exchange.requestId);
      // Answers depend on the cookie and may hold a new key: no cache may keep one.
      headers.set("cache-control", "no-store");
      headers.set("x-content-type-options", "nosniff");
      addCorsHeaders(headers, request, config);
      const body = request.method === "HEAD" ? null : answered.body;
      const response = new Response(body, { status: answered.status, headers });
      logAnswer(dependencies, exchange, response.status, clock.monotonicMs() - startedMs);
      return response;
    },
    openApiDocument: async () =>
      await describeApi(router.apps, sessionCookieName(config.publicUrl)),
  };
}

function newExchange(request: Request, clientAddress: string, now: Date): Exchange {
  return {
    request,
    requestId: newId("request", now),
    clientAddress,
    now,
    member: null,
    route: null,
    refusal: null,
  };
}

async function answer(
  router: Router,
  exchange: Exchange,
  config: Dependencies["config"],
): Promise<Response> {
  try {
    refuseForeignOrigin(exchange.request, config);
    if (exchange.request.method === "OPTIONS") {
      // A browser's question before it sends a request; the CORS headers are the answer.
      return new Response(null, { status: 204 });
    }
    return await router.answer(exchange);
  } catch (thrown) {
    return answerRefusal(thrown, exchange);
  }
}

/** One line a request. An error of ours is logged here, once, and shown to nobody else. */
function logAnswer(
  { log }: Dependencies,
  exchange: Exchange,
  status: number,
  durationMs: number,
): void {
  const { member, refusal } = exchange;
  const fields = {
    requestId: exchange.requestId,
    method: exchange.request.method,
    status,
    durationMs: Math.round(durationMs),
    ...(exchange.route === null ? {} : { route: exchange.route }),
    ...(member === null ? {} : { organizationId: member.organization.id, userId: member.user.id }),
    ...(refusal === null ? {} : { errorCode: refusal.code }),
  };
  if (refusal !== null && refusal.status >= 500) {
    log.error("management.request_failed", { ...fields, error: refusal.cause });
  } else {
    log.info("management.request", fields);
  }
}
