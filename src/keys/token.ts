/**
 * The text an application presents: `spk_live_<key id>_<secret>` (`spk_test_` in the demo). The
 * secret is shown once; only its HMAC-SHA-256 is stored, under a key derived from the encryption
 * key, so that a copy of the database can neither be used nor be searched with guessed secrets.
 */
import { createHmac, hkdfSync, randomBytes, timingSafeEqual } from "node:crypto";
import { idFromSuffix, idSuffix } from "../id.ts";
import type { Secret } from "../secret.ts";

/** What the prefix tells: keys of the demo are `spk_test_`, all others `spk_live_`. */
export type TokenKind = "live" | "test";

export type TokenParts = { apiKeyId: string; secret: string };

const SECRET_BYTES = 32;
const HMAC_KEY_BYTES = 32;
const TOKEN = /^spk_(?:live|test)_([0-9A-HJKMNP-TV-Z]{26})_([A-Za-z0-9_-]{43})$/;

/** 32 random bytes as 43 characters of base64url. */
export function newSecret(): string {
  return randomBytes(SECRET_BYTES).toString("base64url");
}

export function formatToken(apiKeyId: string, secret: string, kind: TokenKind): string {
  return `${tokenPrefix(apiKeyId, kind)}_${secret}`;
}

/** The part of a token that may be shown again: everything but the secret. */
export function tokenPrefix(apiKeyId: string, kind: TokenKind): string {
  return `spk_${kind}_${idSuffix(apiKeyId)}`;
}

/** Takes a token apart, or answers null when it does not have the form of one. */
export function parseToken(token: string): TokenParts | null {
  const match = TOKEN.exec(token);
  if (match?.[1] === undefined || match[2] === undefined) {
    return null;
  }
  return { apiKeyId: idFromSuffix("apiKey", match[1]), secret: match[2] };
}

/** The key under which secrets are hashed: HKDF-SHA-256 (RFC 5869) of the encryption key. */
export function deriveKeyHmacKey(encryptionKey: Secret): Uint8Array {
  const derived = hkdfSync(
    "sha256",
    encryptionKey.reveal(),
    new Uint8Array(),
    "spendra api key secrets",
    HMAC_KEY_BYTES,
  );
  return new Uint8Array(derived);
}

/** 32 bytes: what `api_keys.secret_hmac` holds. */
export function hmacOfSecret(secret: string, hmacKey: Uint8Array): Uint8Array {
  return createHmac("sha256", hmacKey).update(secret).digest();
}

/** Compares in constant time. */
export function isSecretOf(secret: string, secretHmac: Uint8Array, hmacKey: Uint8Array): boolean {
  const presented = hmacOfSecret(secret, hmacKey);
  return presented.length === secretHmac.length && timingSafeEqual(presented, secretHmac);
}
