/**
 * What surrounds every inference request: the call's identity, the refusal of new calls while the
 * node stops, and for what ends without an answer of the provider one log line, one record and one
 * body in the caller's dialect.
 */
import { waitAtMost } from "../clock.ts";
import { PublicError, publicErrorOf } from "../errors.ts";
import { openAiErrorResponse } from "./error-body.ts";
import type { GatewayParts } from "./gateway-parts.ts";
import { PaidCall } from "./paid-call.ts";

/** A refusal is put on record before it is answered, unless the database is slower than this. */
const RECORD_WAIT_MAX_MS = 250;
const RETRY_AFTER_DRAIN_SECONDS = 5;

type Answer = (call: PaidCall, parts: GatewayParts) => Promise<Response>;

export async function handleGatewayRequest(
  request: Request,
  route: string,
  answer: Answer,
  parts: GatewayParts,
): Promise<Response> {
  const call = new PaidCall(request, route, parts.clock);
  const answered = answerOrRefuse(call, answer, parts);
  parts.running.track(answered);
  return await answered;
}

async function answerOrRefuse(
  call: PaidCall,
  answer: Answer,
  parts: GatewayParts,
): Promise<Response> {
  try {
    if (parts.isDraining()) {
      throw new PublicError("shutting_down", undefined, {
        retryAfterSeconds: RETRY_AFTER_DRAIN_SECONDS,
      });
    }
    const response = await answer(call, parts);
    if (call.held === null) {
      logFree(call, response.status, parts);
    }
    return response;
  } catch (thrown) {
    const refusal = publicErrorOf(thrown);
    // An admitted call that failed was ended, recorded and logged where it failed; one that
    // failed in a way nobody foresaw keeps its hold until the sweeper books it.
    if (call.held === null || refusal.code === "internal_error") {
      logRefusal(call, refusal, parts);
      await recordRefusal(call, refusal, parts);
    }
    return openAiErrorResponse(refusal, call.requestId);
  }
}

/** A request that costs nothing, such as the list of models. */
function logFree(call: PaidCall, status: number, parts: GatewayParts): void {
  const labels = { route: call.route, status: String(status), policy_result: "free" };
  parts.metrics.requests.inc(labels);
  parts.metrics.requestSeconds.observe({ route: call.route }, call.durationMs / 1000);
  parts.log.info("gateway.request", { ...call.logFields(), policyResult: "free", status });
}

function logRefusal(call: PaidCall, refusal: PublicError, parts: GatewayParts): void {
  const { code, status, cause } = refusal;
  parts.metrics.requests.inc({
    route: call.route,
    status: String(status),
    policy_result: code,
  });
  const fields = { ...call.logFields(), policyResult: code, status, errorCode: code };
  if (status >= 500 && code !== "shutting_down") {
    parts.log.error("gateway.request", { ...fields, error: cause ?? refusal });
  } else {
    parts.log.info("gateway.request", fields);
  }
}

async function recordRefusal(
  call: PaidCall,
  refusal: PublicError,
  parts: GatewayParts,
): Promise<void> {
  // A call that was admitted has a reservation, whatever became of it afterwards.
  const policyResult = call.held === null ? refusal.code : "granted";
  const record = call.record(policyResult, refusal.status, refusal.code);
  if (record === null || refusal.code === "reservation_unavailable") {
    return;
  }
  const recorded = parts.writer.record(record).catch(() => {
    parts.metrics.recordsDropped.inc();
  });
  await waitAtMost(recorded, RECORD_WAIT_MAX_MS);
}
