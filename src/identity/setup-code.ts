/**
 * The code that proves, over the network, that somebody has the installation's own settings: asked
 * for when the first organization is founded, so that no stranger is faster. Derived from the
 * encryption key, equal on every node, of no use once there is an organization.
 */
import { hkdfSync, timingSafeEqual } from "node:crypto";
import type { Secret } from "../secret.ts";

const CODE_BYTES = 18;
export const SETUP_CODE_CHARACTERS = 24;

/** 24 characters: HKDF-SHA-256 (RFC 5869) of the encryption key. */
export function deriveSetupCode(encryptionKey: Secret): string {
  const purpose = "spendra setup code";
  const derived = hkdfSync("sha256", encryptionKey.reveal(), new Uint8Array(), purpose, CODE_BYTES);
  return Buffer.from(derived).toString("base64url");
}

/** Compares in constant time. */
export function isSetupCode(presented: string, encryptionKey: Secret): boolean {
  const expected = Buffer.from(deriveSetupCode(encryptionKey));
  const given = Buffer.from(presented);
  return given.length === expected.length && timingSafeEqual(given, expected);
}
