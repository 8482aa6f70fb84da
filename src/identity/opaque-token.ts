/**
 * Tokens that people and automation present once or often: `spi_…` of an invitation, `spt_…` of
 * automation. An id and 256 random bits; only the HMAC of the random part is stored, under a key
 * derived from the encryption key, each kind under its own.
 */
import { createHmac, hkdfSync, randomBytes, timingSafeEqual } from "node:crypto";
import { idFromSuffix, idSuffix } from "../id.ts";
import type { Secret } from "../secret.ts";

export type OpaqueTokenKind = "invitation" | "serviceToken";

export type OpaqueTokenParts = { id: string; secret: string };

const SECRET_BYTES = 32;
const HMAC_KEY_BYTES = 32;
const PREFIXES = { invitation: "spi", serviceToken: "spt" } as const;
const BODY = /^_([0-9A-HJKMNP-TV-Z]{26})_([A-Za-z0-9_-]{43})$/;

/** What the secrets of a kind are hashed with: HKDF-SHA-256 (RFC 5869) of the encryption key. */
export function deriveOpaqueTokenKey(encryptionKey: Secret, kind: OpaqueTokenKind): Uint8Array {
  const purpose = `spendra ${PREFIXES[kind]} secrets`;
  const key = encryptionKey.reveal();
  return new Uint8Array(hkdfSync("sha256", key, new Uint8Array(), purpose, HMAC_KEY_BYTES));
}

/** Makes the token of an id: the text to show once, and the HMAC to store. */
export function newOpaqueToken(
  kind: OpaqueTokenKind,
  id: string,
  key: Uint8Array,
): { token: string; secretHmac: Uint8Array } {
  const secret = randomBytes(SECRET_BYTES).toString("base64url");
  return {
    token: `${PREFIXES[kind]}_${idSuffix(id)}_${secret}`,
    secretHmac: hmacOf(secret, key),
  };
}

/** Takes a token apart, or answers null when it does not have the form of its kind. */
export function parseOpaqueToken(kind: OpaqueTokenKind, token: string): OpaqueTokenParts | null {
  const prefix = PREFIXES[kind];
  const match = token.startsWith(prefix) ? BODY.exec(token.slice(prefix.length)) : null;
  if (match?.[1] === undefined || match[2] === undefined) {
    return null;
  }
  return { id: idFromSuffix(kind, match[1]), secret: match[2] };
}

/** Compares in constant time. */
export function opensWith(secret: string, secretHmac: Uint8Array, key: Uint8Array): boolean {
  const presented = hmacOf(secret, key);
  return presented.length === secretHmac.length && timingSafeEqual(presented, secretHmac);
}

function hmacOf(secret: string, key: Uint8Array): Uint8Array {
  return createHmac("sha256", key).update(secret).digest();
}
