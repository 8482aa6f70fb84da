/**
 * Nobody is asked to put a secret into a name or a reason, and some do. What has the form of a key,
 * of a credential in a header or of a password in an address is masked before it is written: the
 * log is append-only, and a secret could not be taken out again. Names such as `risk-assessment`,
 * which only contain the beginning of a key, stay as they are.
 */
import type { AuditFacts } from "./queries.ts";

const SECRET_PATTERNS: readonly RegExp[] = [
  // Keys of OpenAI and Anthropic, of Google, and all of our own kinds of token.
  /(?<![A-Za-z0-9_-])(?:sk-|AIza|sp[a-z]_)[A-Za-z0-9_-]{12,}/g,
  /(?<=\b(?:bearer|basic) +)[A-Za-z0-9._~+/-]{20,}=*/gi,
  // A password may hold an @ itself, and the user before it may be missing.
  /(?<=:\/\/[^:/@\s]{0,100}:)\S{1,200}(?=@)/g,
];

export function maskText(text: string): string {
  return SECRET_PATTERNS.reduce((masked, pattern) => masked.replace(pattern, "[secret]"), text);
}

export function maskFacts(facts: AuditFacts): AuditFacts {
  return Object.fromEntries(
    Object.entries(facts).map(([name, fact]) => [name, maskFact(fact)] as const),
  );
}

function maskFact(fact: AuditFacts[string]): AuditFacts[string] {
  if (typeof fact === "string") {
    return maskText(fact);
  }
  return typeof fact === "object" && fact !== null ? fact.map(maskText) : fact;
}
