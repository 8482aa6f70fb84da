/**
 * From the token in a header to the authority behind it. Answered from memory; a change in the
 * database makes the memory forget (LISTEN/NOTIFY), and what it has not heard of yet is caught by
 * the epochs in the reserve statement. A database that cannot be asked is never the caller's fault.
 */
import type { Clock } from "../clock.ts";
import type { Sql } from "../database/client.ts";
import { answeredInTime } from "../database/in-time.ts";
import { PublicError } from "../errors.ts";
import { type ApiKeyFacts, type Authority, isCurrent } from "./authority.ts";
import { AuthorityMemory } from "./authority-memory.ts";
import { KeyUses } from "./key-uses.ts";
import { isSecretOf, parseToken, type TokenParts } from "./token.ts";

export type Authenticator = {
  /** Throws `PublicError` for a token that opens nothing. */
  authenticate(token: string): Promise<Authority>;
  /** After a change in this organization. */
  forgetOrganization(organizationId: string): void;
  /** After a time in which changes may have been missed. */
  forgetAll(): void;
  /** What is in memory at this moment. */
  remembered(): readonly Authority[];
  /** When which key opened something, for whoever writes it down. */
  readonly uses: KeyUses;
};

export function createAuthenticator(options: {
  sql: Sql;
  clock: Clock;
  hmacKey: Uint8Array;
}): Authenticator {
  const { sql, clock, hmacKey } = options;
  const memory = new AuthorityMemory(sql);
  const uses = new KeyUses();

  async function find(apiKeyId: string): Promise<Authority | null> {
    const remembered = memory.recall(apiKeyId);
    if (remembered !== undefined) {
      return remembered;
    }
    try {
      return await answeredInTime(memory.load(apiKeyId), "key");
    } finally {
      memory.endLoad(apiKeyId);
    }
  }

  /** Null when there is no such key or the secret is not its own. */
  async function findOpened({ apiKeyId, secret }: TokenParts): Promise<Authority | null> {
    const found = await find(apiKeyId);
    if (found === null || opens(found.apiKey, secret, clock.now(), hmacKey)) {
      return found;
    }
    // A secret that does not fit what is remembered may be newer than that.
    if (await answeredInTime(isCurrent(sql, found), "key")) {
      return null;
    }
    memory.forgetOrganization(found.organizationId);
    const again = await find(apiKeyId);
    return again !== null && opens(again.apiKey, secret, clock.now(), hmacKey) ? again : null;
  }

  return {
    async authenticate(token) {
      const parts = parseToken(token);
      const authority = parts === null ? null : await findOpened(parts);
      if (authority === null) {
        throw new PublicError("invalid_api_key");
      }
      uses.note(authority.organizationId, authority.apiKey.id, clock.now());
      return authority;
    },
    uses,
    forgetOrganization: (organizationId) => memory.forgetOrganization(organizationId),
    forgetAll: () => memory.forgetAll(),
    remembered: () => memory.remembered(),
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
  if (apiKey.archived !== null) {
    throw new PublicError(
      apiKey.archived === "actor" ? "actor_not_allowed" : "project_not_allowed",
    );
  }
}

/** Whether the secret is the key's own, or the one before it while the overlap runs. */
function opens(apiKey: ApiKeyFacts, secret: string, at: Date, hmacKey: Uint8Array): boolean {
  const { secretHmac, previousSecret } = apiKey;
  return (
    isSecretOf(secret, secretHmac, hmacKey) ||
    (previousSecret !== null &&
      previousSecret.endsAt > at &&
      isSecretOf(secret, previousSecret.hmac, hmacKey))
  );
}
