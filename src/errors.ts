/**
 * The catalogue of everything that Spendra itself answers with an error: one entry a code, with
 * its HTTP status and the type that OpenAI clients know. Documented in docs/reference/errors.md;
 * a test holds both equal. How a code looks on the wire is decided by the route's dialect.
 */

type CatalogueEntry = {
  readonly status: number;
  /** `error.type` in the OpenAI dialect. */
  readonly type: string;
  readonly summary: string;
};

export const errorCatalogue = {
  invalid_api_key: entry(401, "authentication_error", "The API key is unknown or malformed."),
  key_inactive: entry(401, "authentication_error", "The API key is switched off."),
  key_expired: entry(401, "authentication_error", "The API key has expired."),
  key_revoked: entry(401, "authentication_error", "The API key was revoked."),
  provider_not_allowed: entry(403, "permission_error", "The key may not use this provider."),
  model_not_allowed: entry(403, "permission_error", "The key may not use this model."),
  blocked: entry(403, "permission_error", "An administrator has blocked this."),
  no_hard_cap_policy: entry(
    403,
    "permission_error",
    "No hard cap applies, so nothing may be spent.",
  ),
  per_request_limit_exceeded: entry(403, "permission_error", "Dearer than one request may be."),
  review_required: entry(403, "permission_error", "A person must permit this request first."),
  budget_exceeded: entry(402, "insufficient_quota", "A hard cap has no room for this request."),
  rate_limit_exceeded: entry(429, "rate_limit_error", "A rate limit has no room for this request."),
  model_not_priced: entry(400, "invalid_request_error", "The model has no price in the catalog."),
  invalid_request: entry(400, "invalid_request_error", "The request is malformed."),
  request_too_large: entry(413, "invalid_request_error", "The request body is too large."),
  unknown_provider: entry(404, "invalid_request_error", "No such provider is set up."),
  unknown_route: entry(404, "invalid_request_error", "Spendra has no such route."),
  method_not_allowed: entry(405, "invalid_request_error", "The route has no such method."),
  idempotency_in_progress: entry(409, "idempotency_error", "A call with this key is running."),
  idempotency_replay_unavailable: entry(409, "idempotency_error", "A call with this key was paid."),
  idempotency_mismatch: entry(422, "idempotency_error", "The key came with another body before."),
  reservation_unavailable: entry(503, "service_unavailable", "The budget store is out of reach."),
  shutting_down: entry(503, "service_unavailable", "This node is being stopped."),
  provider_error: entry(502, "upstream_error", "The provider could not be reached."),
  provider_timeout: entry(504, "upstream_error", "The provider took too long."),
  internal_error: entry(500, "internal_error", "Something went wrong inside Spendra."),
  not_signed_in: entry(401, "authentication_error", "Sign in first."),
  wrong_credentials: entry(401, "authentication_error", "E-mail or password is wrong."),
  sign_in_throttled: entry(429, "rate_limit_error", "Too many failed sign-ins; wait."),
  capability_missing: entry(403, "permission_error", "Your role does not allow this."),
  not_found: entry(404, "invalid_request_error", "There is no such thing here."),
  precondition_required: entry(428, "invalid_request_error", "The If-Match header is missing."),
  review_decided: entry(409, "invalid_request_error", "The review was decided before."),
  version_stale: entry(409, "invalid_request_error", "It was changed since you read it."),
  archived: entry(409, "invalid_request_error", "It is archived and cannot be changed."),
  rotation_overlaps: entry(409, "invalid_request_error", "The last rotation has not ended yet."),
  still_in_use: entry(409, "invalid_request_error", "It cannot be archived: it is still in use."),
  actor_not_allowed: entry(403, "permission_error", "The key's actor is archived."),
  project_not_allowed: entry(403, "permission_error", "The key's project is archived."),
  invalid_token: entry(401, "authentication_error", "The bearer token is not accepted."),
  identity_provider_unavailable: entry(
    503,
    "service_unavailable",
    "The identity provider's keys are out of reach.",
  ),
  invitation_invalid: entry(404, "invalid_request_error", "The invitation is not good any more."),
  last_org_admin: entry(409, "invalid_request_error", "The last org_admin cannot go."),
  onboarding_closed: entry(409, "invalid_request_error", "There is an organization already."),
  wrong_origin: entry(403, "permission_error", "The request comes from another site."),
  metrics_token_invalid: entry(401, "authentication_error", "The metrics token is wrong."),
} as const satisfies Record<string, CatalogueEntry>;

export type ErrorCode = keyof typeof errorCatalogue;

/** Facts a caller may see beside the message; amounts are decimal strings of dollars. */
export type ErrorDetails = Readonly<Record<string, string | number | boolean | null>>;

type RefusalOptions = {
  /** The field of the request that is at fault, as the caller wrote it. */
  param?: string;
  details?: ErrorDetails;
  retryAfterSeconds?: number;
  /** The methods that the route has, for `method_not_allowed`. */
  allow?: string;
  cause?: unknown;
};

/**
 * A refusal or failure that the caller is told about. `message` is public: it never holds secrets,
 * prompts or internals. The cause is for the log only.
 */
export class PublicError extends Error {
  override readonly name = "PublicError";
  readonly code: ErrorCode;
  readonly status: number;
  readonly type: string;
  readonly param: string | null;
  readonly details: ErrorDetails | null;
  readonly retryAfterSeconds: number | null;
  readonly allow: string | null;

  constructor(code: ErrorCode, message?: string, options: RefusalOptions = {}) {
    super(message ?? errorCatalogue[code].summary, { cause: options.cause });
    this.code = code;
    this.status = errorCatalogue[code].status;
    this.type = errorCatalogue[code].type;
    this.param = options.param ?? null;
    this.details = options.details ?? null;
    this.retryAfterSeconds = options.retryAfterSeconds ?? null;
    this.allow = options.allow ?? null;
  }
}

/** What the caller is told of any thrown value: itself if public, else `internal_error`. */
export function publicErrorOf(thrown: unknown): PublicError {
  return thrown instanceof PublicError
    ? thrown
    : new PublicError("internal_error", undefined, { cause: thrown });
}

/** What was looked for; throws `not_found` when there is none. `what` is its name in English. */
export function requireFound<Found>(found: Found | null | undefined, what: string): Found {
  if (found === null || found === undefined) {
    throw new PublicError("not_found", `There is no such ${what}.`);
  }
  return found;
}

function entry(status: number, type: string, summary: string): CatalogueEntry {
  return { status, type, summary };
}
