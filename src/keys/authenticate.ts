/**
 * From the token in a header to the authority behind it. Answered from memory; a change in the
 * database makes the memory forget (LISTEN/NOTIFY), and what it has not heard of yet is caught by
 * the epochs in the reserve statement. A database that cannot be asked is never the caller's fault.
 */
import { type Clock, withTimeout } from "../clock.ts";
import type { Sql } from "../database/client.ts";
import { PublicError } from "../errors.ts";
import { type ApiKeyFacts, type Authority, loadAuthority } from "./authority.ts";
import { isSecretOf, parseToken } from "./token.ts";

export type Authenticator = {
  /** Throws `PublicError` for a token that opens nothing. */
  authenticate(token: string): Promise<Authority>;
  /** After a change in this organization. */
  forgetOrganization(organizationId: string): void;
  /** After a time in which changes may have been missed. */
  forgetAll(): void;
  /** What is in memory at this moment. */
  remembered(): readonly Authority[];
};

/** Authorities kept in memory; beyond it the oldest is forgotten. About 4 KB each. */
const AUTHORITIES_MAX = 20_000;
const RETRY_AFTER_SECONDS = 2;
/** A database that does not answer at all must not make the caller wait for its own limits. */
const LOAD_TIMEOUT_MS = 900;

export function createAuthenticator(options: {
  sql: Sql;
  clock: Clock;
  hmacKey: Uint8Array;
}): Authenticator {
  const known = new Map<string, Authority>();
  const loading = new Map<string, Promise<Authority | null>>();
  // A load that began before a change must not be remembered after it.
  let forgetCount = 0;

  async function load(apiKeyId: string): Promise<Authority | null> {
    const countBefore = forgetCount;
    const authority = await loadAuthority(options.sql, apiKeyId);
    if (authority !== null && countBefore === forgetCount) {
      remember(known, apiKeyId, authority);
    }
    return authority;
  }

  /** Many first requests of one key load it once. */
  async function find(apiKeyId: string): Promise<Authority | null> {
    const remembered = known.get(apiKeyId);
    if (remembered !== undefined) {
      return remembered;
    }
    const running = loading.get(apiKeyId) ?? load(apiKeyId);
    loading.set(apiKeyId, running);
    try {
      // What it brings later is still remembered.
      return await withTimeout(running, LOAD_TIMEOUT_MS, () => {
        throw new Error("the database did not answer in time");
      });
    } catch (cause) {
      throw new PublicError("reservation_unavailable", "The key store cannot be reached.", {
        retryAfterSeconds: RETRY_AFTER_SECONDS,
        cause,
      });
    } finally {
      loading.delete(apiKeyId);
    }
  }

  return {
    async authenticate(token) {
      const parts = parseToken(token);
      const authority = parts === null ? null : await find(parts.apiKeyId);
      if (parts === null || authority === null) {
        throw new PublicError("invalid_api_key");
      }
      if (!isSecretOf(parts.secret, authority.apiKey.secretHmac, options.hmacKey)) {
        throw new PublicError("invalid_api_key");
      }
      return authority;
    },
    forgetOrganization(organizationId) {
      forgetCount++;
      loading.clear();
      for (const [apiKeyId, authority] of known) {
        if (authority.organizationId === organizationId) {
          known.delete(apiKeyId);
        }
      }
    },
    forgetAll() {
      forgetCount++;
      loading.clear();
      known.clear();
    },
    remembered: () => [...known.values()],
  };
}

/** Throws `PublicError` unless the key may be used at this instant. */
export function requireUsable(apiKey: ApiKeyFacts, at: Date): void {
  if (apiKey.revokedAt !== null) {
    throw new PublicError("key_revoked");
  }
  if (apiKey.expiresAt !== null && apiKey.expiresAt <= at) {
    throw new PublicError("key_expired");
  }
  if (!apiKey.isActive) {
    throw new PublicError("key_inactive");
  }
}

function remember(known: Map<string, Authority>, apiKeyId: string, authority: Authority): void {
  const oldest = known.keys().next();
  if (known.size >= AUTHORITIES_MAX && oldest.done !== true) {
    known.delete(oldest.value);
  }
  known.set(apiKeyId, authority);
}
