/** Errors of the management API as problem details (RFC 9457, application/problem+json). */
import { STATUS_CODES } from "node:http";
import { isTransient } from "../database/sqlstate.ts";
import { PublicError } from "../errors.ts";

/** A reason against one field, named as the caller wrote it: `scope.id`. */
export type FieldReason = { field: string; reason: string };

/** Why the fields of a request were refused. */
export class InvalidFieldsError extends PublicError {
  readonly fields: readonly FieldReason[];

  constructor(fields: readonly FieldReason[]) {
    const names = fields.map(({ field }) => field).join(", ");
    super("invalid_request", `These fields cannot be accepted: ${names}.`);
    this.fields = fields;
  }
}

/** The route exists, but not with this method. */
export class MethodNotAllowedError extends PublicError {
  readonly allowed: readonly string[];

  constructor(allowed: readonly string[]) {
    super("method_not_allowed", `This route takes ${allowed.join(", ")}.`);
    this.allowed = allowed;
  }
}

const DATABASE_RETRY_SECONDS = 5;

/**
 * What the caller is told of anything thrown. A database that is away is 503, never 401: the
 * caller's session may be perfectly good.
 */
export function refusalOf(thrown: unknown): PublicError {
  if (thrown instanceof PublicError) {
    return thrown;
  }
  if (isTransient(thrown)) {
    return new PublicError("reservation_unavailable", "The database is out of reach. Try again.", {
      retryAfterSeconds: DATABASE_RETRY_SECONDS,
      cause: thrown,
    });
  }
  return new PublicError("internal_error", undefined, { cause: thrown });
}

/** The answer that says it. */
export function problemResponse(refusal: PublicError, requestId: string): Response {
  const problem = {
    type: "about:blank",
    title: STATUS_CODES[refusal.status] ?? "Error",
    status: refusal.status,
    detail: refusal.message,
    code: refusal.code,
    request_id: requestId,
    errors: fieldReasonsOf(refusal),
    ...(refusal.details === null ? {} : { details: refusal.details }),
  };
  const headers = new Headers({ "content-type": "application/problem+json" });
  if (refusal.retryAfterSeconds !== null) {
    headers.set("retry-after", String(refusal.retryAfterSeconds));
  }
  if (refusal instanceof MethodNotAllowedError) {
    headers.set("allow", refusal.allowed.join(", "));
  }
  return new Response(JSON.stringify(problem), { status: refusal.status, headers });
}

function fieldReasonsOf(refusal: PublicError): readonly FieldReason[] {
  if (refusal instanceof InvalidFieldsError) {
    return refusal.fields;
  }
  return refusal.param === null ? [] : [{ field: refusal.param, reason: refusal.message }];
}
