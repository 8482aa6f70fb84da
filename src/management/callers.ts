/**
 * Who asks: a person by the session in their cookie, a person by a bearer token of the identity
 * provider, or automation by a service token. A request that carries a bearer token is judged by
 * that alone.
 */
import type { Config } from "../config.ts";
import type { Sql } from "../database/client.ts";
import { PublicError } from "../errors.ts";
import { isId } from "../id.ts";
import { findAutomation } from "../identity/automation-token.ts";
import { type Member, memberOf } from "../identity/member.ts";
import { callerFindByEmail } from "../identity/member-queries.ts";
import { deriveOpaqueTokenKey } from "../identity/opaque-token.ts";
import { RequestThrottle } from "../identity/request-throttle.ts";
import { findMember } from "../identity/session.ts";
import { createTokenVerifier, type TokenVerifier } from "../identity/supabase-token.ts";
import type { Exchange } from "./endpoint.ts";
import { InvalidFieldsError } from "./problem.ts";
import { readSessionCookie } from "./session-cookie.ts";

export type Callers = {
  /**
   * The member who asks, noted on the exchange. Throws `not_signed_in`, `invalid_token`,
   * `identity_provider_unavailable`, `capability_missing` (nobody here has the token's e-mail) or
   * `rate_limit_exceeded`.
   */
  requireMember(exchange: Exchange): Promise<Member>;
  /**
   * The e-mail that the request itself proves, by a session or by the identity provider, or null.
   * Throws as above, but not for a person who is no member anywhere.
   */
  provenEmail(exchange: Exchange): Promise<string | null>;
};

type Parts = {
  readonly sql: Sql;
  readonly config: Pick<
    Config,
    "publicUrl" | "encryptionKey" | "supabase" | "managementRequestsPerMinute"
  >;
};

const BEARER = /^Bearer +(\S+) *$/i;
const SERVICE_TOKEN = /^spt_/;
/** For people in several organizations who sign in elsewhere; a session has its own. */
export const ORGANIZATION_HEADER = "x-spendra-organization";

export function openCallers({ sql, config }: Parts): Callers {
  const throttle = new RequestThrottle(config.managementRequestsPerMinute);
  const tokenKey = deriveOpaqueTokenKey(config.encryptionKey, "serviceToken");
  const verifier = config.supabase === null ? null : createTokenVerifier(config.supabase);

  async function findCaller({ request, now }: Exchange): Promise<Member | null> {
    const bearer = readBearer(request);
    const token = bearer ?? readSessionCookie(request, config.publicUrl);
    if (token === null || token === "") {
      return null;
    }
    throttle.take(token, now);
    if (bearer === null) {
      return await findMember(sql, token, now);
    }
    return SERVICE_TOKEN.test(bearer)
      ? await findAutomation(sql, bearer, tokenKey, now)
      : await findByBearer(sql, verifier, request, bearer, now);
  }

  return {
    requireMember: async (exchange) => {
      const member = await findCaller(exchange);
      if (member === null) {
        throw new PublicError("not_signed_in");
      }
      exchange.member = member;
      return member;
    },
    provenEmail: async (exchange) => {
      const { request, now } = exchange;
      const bearer = readBearer(request);
      if (bearer !== null && !SERVICE_TOKEN.test(bearer)) {
        throttle.take(bearer, now);
        return (await proveEmail(verifier, bearer, now)).email;
      }
      const member = await findCaller(exchange);
      return member === null || member.serviceTokenId !== null ? null : member.user.email;
    },
  };
}

async function findByBearer(
  sql: Sql,
  verifier: TokenVerifier | null,
  request: Request,
  bearer: string,
  now: Date,
): Promise<Member> {
  const { email } = await proveEmail(verifier, bearer, now);
  const organizationId = request.headers.get(ORGANIZATION_HEADER);
  if (organizationId !== null && !isId("organization", organizationId)) {
    throw new InvalidFieldsError([{ field: ORGANIZATION_HEADER, reason: "must be an id" }]);
  }
  const row = await callerFindByEmail(sql, email, organizationId);
  if (row === null) {
    throw new PublicError("capability_missing", "You are not a member of such an organization.");
  }
  return await memberOf(sql, row);
}

async function proveEmail(verifier: TokenVerifier | null, bearer: string, now: Date) {
  if (verifier === null) {
    throw new PublicError("invalid_token");
  }
  return await verifier.verify(bearer, now);
}

/** Null without the header; another scheme is a token that is not accepted. */
function readBearer(request: Request): string | null {
  const header = request.headers.get("authorization");
  if (header === null) {
    return null;
  }
  const token = BEARER.exec(header)?.[1];
  if (token === undefined) {
    throw new PublicError("invalid_token", "The authorization header must be: Bearer <token>.");
  }
  return token;
}
