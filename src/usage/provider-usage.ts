/**
 * A provider's usage object as it may be stored: numbers, flags and short texts, as deep and as
 * many as any real one has. What PostgreSQL cannot store (NUL, lone surrogates) is taken out, so
 * that no odd answer can keep its own cost from being booked.
 */

const DEPTH_MAX = 4;
const MEMBERS_MAX = 64;
const TEXT_CHARACTERS_MAX = 200;

export type ProviderUsage = Readonly<Record<string, unknown>>;

export function storableUsage(usage: Readonly<Record<string, unknown>>): ProviderUsage {
  return storableMembers(usage, 1);
}

function storableMembers(object: object, depth: number): ProviderUsage {
  const members = Object.entries(object).slice(0, MEMBERS_MAX);
  return Object.fromEntries(
    members.map(([name, value]) => [storableText(name), storable(value, depth)]),
  );
}

function storable(value: unknown, depth: number): unknown {
  if (typeof value === "string") {
    return storableText(value);
  }
  if (typeof value === "number" || typeof value === "boolean") {
    return value;
  }
  const isObject = typeof value === "object" && value !== null;
  return isObject && depth < DEPTH_MAX ? storableMembers(value, depth + 1) : null;
}

function storableText(text: string): string {
  return text.slice(0, TEXT_CHARACTERS_MAX).toWellFormed().replaceAll("\u0000", "");
}
