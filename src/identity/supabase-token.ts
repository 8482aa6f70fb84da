/**
 * Access tokens of a Supabase-compatible Auth server (GoTrue): JWTs signed with the project's
 * shared secret (HS256) or with a key that the server publishes. Which of the two is decided by the
 * token's `alg` before anything is trusted, and each has its own list, so that neither `none` nor a
 * public key used as a secret is ever accepted. Source: RFC 8725, sections 2.1 and 3.1;
 * https://supabase.com/docs/guides/auth/jwts.
 */
import {
  createRemoteJWKSet,
  decodeProtectedHeader,
  errors,
  type JWTPayload,
  type JWTVerifyOptions,
  jwtVerify,
} from "jose";
import { PublicError } from "../errors.ts";
import type { Secret } from "../secret.ts";

/** Who a token names. The e-mail is in lower case. */
export type ProvenPerson = { email: string };

export type TokenVerifier = {
  /** Throws `invalid_token`, or `identity_provider_unavailable` when its keys cannot be read. */
  verify(token: string, now: Date): Promise<ProvenPerson>;
};

/** Of a person who signed in; service and anonymous keys have others. */
const AUDIENCE = "authenticated";
const PUBLIC_KEY_ALGORITHMS = ["ES256", "RS256", "EdDSA"];
const TOKEN_CHARACTERS_MAX = 8_192;
const CLOCK_TOLERANCE_SECONDS = 5;
const KEYS_TIMEOUT_MS = 3_000;
/** Keys are read again after this long, and at once for an unknown key id, but not more often. */
const KEYS_KEPT_MS = 10 * 60 * 1000;
const KEYS_PAUSE_MS = 30 * 1000;
const RETRY_SECONDS = 5;
const EMAIL_CHARACTERS_MAX = 320;

/** Verifies tokens of the server at `url`; null `jwtSecret`: only those signed with its keys. */
export function createTokenVerifier(
  { url, jwtSecret }: { url: string; jwtSecret: Secret | null },
  keysPauseMs: number = KEYS_PAUSE_MS,
): TokenVerifier {
  const issuer = `${url}/auth/v1`;
  const keys = createRemoteJWKSet(new URL(`${issuer}/.well-known/jwks.json`), {
    timeoutDuration: KEYS_TIMEOUT_MS,
    cacheMaxAge: KEYS_KEPT_MS,
    cooldownDuration: keysPauseMs,
  });
  const secret = jwtSecret === null ? null : new TextEncoder().encode(jwtSecret.reveal());
  return {
    verify: async (token, now) => {
      const rules: JWTVerifyOptions = {
        issuer,
        audience: AUDIENCE,
        currentDate: now,
        clockTolerance: CLOCK_TOLERANCE_SECONDS,
        requiredClaims: ["exp", "sub"],
      };
      try {
        if (algorithmOf(token) === "HS256" && secret !== null) {
          const { payload } = await jwtVerify(token, secret, { ...rules, algorithms: ["HS256"] });
          return personOf(payload);
        }
        const algorithms = PUBLIC_KEY_ALGORITHMS;
        const { payload } = await jwtVerify(token, keys, { ...rules, algorithms });
        return personOf(payload);
      } catch (error) {
        throw refusalOf(error);
      }
    },
  };
}

/** Throws an error of jose when the text is no token. */
function algorithmOf(token: string): string {
  if (token.length > TOKEN_CHARACTERS_MAX) {
    throw new errors.JWTInvalid("too long");
  }
  try {
    return decodeProtectedHeader(token).alg ?? "none";
  } catch {
    throw new errors.JWTInvalid("malformed");
  }
}

function personOf({ email }: JWTPayload): ProvenPerson {
  if (typeof email !== "string" || email === "" || email.length > EMAIL_CHARACTERS_MAX) {
    throw new errors.JWTInvalid("no e-mail");
  }
  return { email: email.toLowerCase() };
}

/** A bad token is the caller's; keys that cannot be read say nothing about the token. */
function refusalOf(error: unknown): PublicError {
  // JWKSTimeout and a bad answer of the key server are errors of jose as well, without a claim.
  const isAboutToken =
    error instanceof errors.JWTInvalid ||
    error instanceof errors.JWTExpired ||
    error instanceof errors.JWTClaimValidationFailed ||
    error instanceof errors.JWSInvalid ||
    error instanceof errors.JWSSignatureVerificationFailed ||
    error instanceof errors.JOSEAlgNotAllowed ||
    error instanceof errors.JOSENotSupported ||
    error instanceof errors.JWKSNoMatchingKey ||
    error instanceof errors.JWKSMultipleMatchingKeys;
  return isAboutToken
    ? new PublicError("invalid_token", whyRefused(error))
    : new PublicError("identity_provider_unavailable", undefined, {
        retryAfterSeconds: RETRY_SECONDS,
        cause: error,
      });
}

/** Of a reason only what helps an honest caller. */
function whyRefused(error: unknown): string {
  if (error instanceof errors.JWTExpired) {
    return "The bearer token has expired.";
  }
  if (error instanceof errors.JWTClaimValidationFailed) {
    return `The bearer token's claim ${JSON.stringify(error.claim)} is not accepted.`;
  }
  return "The bearer token is not accepted.";
}
