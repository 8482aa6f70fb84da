/**
 * Proves that this node has the encryption key that the database was set up with. The first node
 * writes a canary; every other one, and every later start, must be able to open it.
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto";
import type { Queryable } from "../database/client.ts";
import type { Secret } from "../secret.ts";

/** The key does not open what the database holds. */
export class WrongEncryptionKeyError extends Error {
  override readonly name = "WrongEncryptionKeyError";

  constructor() {
    super(
      "SPENDRA_ENCRYPTION_KEY is not the key that this database was set up with: " +
        "API keys could not be recognised. Restore the original key.",
    );
  }
}

/** One key for now; rotation will give each its own. */
const KEY_ID = "primary";
const CANARY_TEXT = "spendra canary";
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const KEY_BYTES = 32;
const CIPHER = "aes-256-gcm";

/** Writes the canary of a new database. Writing it twice keeps the first. */
export async function placeCanary(
  sql: Queryable,
  encryptionKey: Secret,
  placedAt: Date,
): Promise<void> {
  await sql`
    -- name: encryption_canaries.place
    insert into encryption_canaries (key_id, ciphertext, created_at)
    values (${KEY_ID}, ${seal(encryptionKey)}, ${placedAt})
    on conflict do nothing
  `;
}

/** Throws `WrongEncryptionKeyError` unless the key opens the canary. */
export async function checkCanary(sql: Queryable, encryptionKey: Secret): Promise<void> {
  const [row] = await sql<{ ciphertext: Uint8Array }[]>`
    -- name: encryption_canaries.find
    select ciphertext from encryption_canaries where key_id = ${KEY_ID}
  `;
  if (row === undefined || !opens(encryptionKey, row.ciphertext)) {
    throw new WrongEncryptionKeyError();
  }
}

function seal(encryptionKey: Secret): Buffer {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv(CIPHER, deriveKey(encryptionKey), nonce);
  const body = Buffer.concat([cipher.update(CANARY_TEXT, "utf8"), cipher.final()]);
  return Buffer.concat([nonce, cipher.getAuthTag(), body]);
}

function opens(encryptionKey: Secret, ciphertext: Uint8Array): boolean {
  try {
    const nonce = ciphertext.subarray(0, NONCE_BYTES);
    const decipher = createDecipheriv(CIPHER, deriveKey(encryptionKey), nonce);
    decipher.setAuthTag(ciphertext.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES));
    const body = decipher.update(ciphertext.subarray(NONCE_BYTES + TAG_BYTES));
    return Buffer.concat([body, decipher.final()]).toString("utf8") === CANARY_TEXT;
  } catch {
    // Another key, or a damaged row: either way this node must not serve.
    return false;
  }
}

function deriveKey(encryptionKey: Secret): Uint8Array {
  const derived = hkdfSync(
    "sha256",
    encryptionKey.reveal(),
    new Uint8Array(),
    "spendra stored secrets",
    KEY_BYTES,
  );
  return new Uint8Array(derived);
}
