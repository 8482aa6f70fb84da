/** The text of an API key: its form, what is not one, and how its secret is kept (F16, F18). */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { newId } from "../src/id.ts";
import {
  deriveKeyHmacKey,
  formatToken,
  hmacOfSecret,
  isSecretOf,
  newSecret,
  parseToken,
  tokenPrefix,
} from "../src/keys/token.ts";
import { Secret } from "../src/secret.ts";

const apiKeyId = newId("apiKey", new Date("2026-11-21T12:00:00Z"));
const secret = newSecret();
const token = formatToken(apiKeyId, secret, "live");
const suffix = apiKeyId.slice("key_".length);

describe("a token", () => {
  test.each([
    ["nothing", ""],
    ["a key of OpenAI", `sk-proj-${"a".repeat(48)}`],
    ["no secret", `spk_live_${suffix}`],
    ["an empty secret", `spk_live_${suffix}_`],
    ["a secret that is too short", token.slice(0, -1)],
    ["a secret that is too long", `${token}a`],
    ["a secret with padding", `${token.slice(0, -1)}=`],
    ["a secret in plain base64", `${token.slice(0, -2)}+/`],
    ["another environment", token.replace("live", "prod")],
    ["capitals in the prefix", token.replace("spk", "SPK")],
    ["small letters in the id", token.replace(suffix, suffix.toLowerCase())],
    ["letters that no id has", token.replace(suffix, `${suffix.slice(0, -1)}U`)],
    ["an id that is too short", token.replace(suffix, suffix.slice(1))],
    ["an id that is too long", token.replace(suffix, `0${suffix}`)],
    ["an id with its prefix", `spk_live_${apiKeyId}_${secret}`],
    ["a blank before", ` ${token}`],
    ["a blank behind", `${token} `],
    ["a line feed behind", `${token}\n`],
    ["a NUL behind", `${token}\0`],
    ["a header's name", `Bearer ${token}`],
    ["two tokens", `${token},${token}`],
    ["digits of another script", token.replace(suffix, "\u0660".repeat(26))],
    ["a statement", `spk_live_${suffix}' or 1=1 --_${secret}`],
  ])("is not taken apart when it has %s", (_, text) => {
    expect(parseToken(text)).toBeNull();
  });

  test("of ten million characters is refused at once", () => {
    const startedMs = performance.now();
    expect(parseToken(`spk_live_${"0".repeat(10_000_000)}`)).toBeNull();
    expect(parseToken(`spk_live_${suffix}_${"a".repeat(10_000_000)}`)).toBeNull();
    expect(performance.now() - startedMs).toBeLessThan(200);
  });

  test.each(["live", "test"] as const)("spk_%s_ is taken apart into its key and secret", (kind) => {
    const text = formatToken(apiKeyId, secret, kind);
    expect(text).toBe(`spk_${kind}_${suffix}_${secret}`);
    expect(parseToken(text)).toEqual({ apiKeyId, secret });
    expect(text.startsWith(tokenPrefix(apiKeyId, kind))).toBe(true);
    expect(tokenPrefix(apiKeyId, kind)).not.toContain(secret);
  });

  test("has the same length always, underscores in its secret or not", () => {
    for (let count = 0; count < 500; count++) {
      const made = newSecret();
      const text = formatToken(newId("apiKey", new Date()), made, "live");
      expect(text).toHaveLength("spk_live_".length + 26 + 1 + 43);
      expect(parseToken(text)?.secret).toBe(made);
    }
  });

  test("that is any text is either refused or printed back as it was", () => {
    const likeTokens = fc
      .tuple(
        fc.constantFrom("spk_live_", "spk_test_", "spk_", ""),
        fc.string({ maxLength: 30 }),
        fc.string({ maxLength: 50 }),
      )
      .map(([prefix, id, rest]) => `${prefix}${id}_${rest}`);
    fc.assert(
      fc.property(fc.oneof(fc.string(), likeTokens), (text) => {
        const parts = parseToken(text);
        const kind = text.startsWith("spk_test_") ? "test" : "live";
        expect(parts === null ? text : formatToken(parts.apiKeyId, parts.secret, kind)).toBe(text);
      }),
    );
  });
});

describe("a secret", () => {
  const hmacKey = deriveKeyHmacKey(new Secret("the key of one installation, long enough"));
  const otherHmacKey = deriveKeyHmacKey(new Secret("the key of another installation, too"));
  const stored = hmacOfSecret(secret, hmacKey);

  test.each([
    ["another secret", newSecret(), stored, hmacKey],
    ["no secret", "", stored, hmacKey],
    ["a part of it", secret.slice(0, -1), stored, hmacKey],
    ["it with one character changed", `${secret.slice(1)}-`, stored, hmacKey],
    ["the key of another installation", secret, stored, otherHmacKey],
    ["a stored value that is cut off", secret, stored.slice(1), hmacKey],
    ["a stored value that is empty", secret, new Uint8Array(), hmacKey],
  ])("is not recognised by %s", (_, presented, hmac, key) => {
    expect(isSecretOf(presented, hmac, key)).toBe(false);
  });

  test("is recognised by itself under the same key", () => {
    expect(isSecretOf(secret, stored, hmacKey)).toBe(true);
  });

  test("is kept as 32 bytes that differ by secret and by key, and do not hold it", () => {
    expect(stored).toHaveLength(32);
    expect(hmacKey).toHaveLength(32);
    expect(stored).toEqual(hmacOfSecret(secret, hmacKey));
    expect(stored).not.toEqual(hmacOfSecret(secret, otherHmacKey));
    expect(stored).not.toEqual(hmacOfSecret(newSecret(), hmacKey));
    expect(Buffer.from(stored).includes(Buffer.from(secret, "base64url"))).toBe(false);
  });

  test("never comes twice", () => {
    const secrets = new Set(Array.from({ length: 10_000 }, newSecret));
    expect(secrets.size).toBe(10_000);
  });
});
