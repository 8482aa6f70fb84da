/** Fields that several resources share. Here zod is rule, type and documentation at once. */
import { z } from "zod";
import { type IdKind, isId } from "../id.ts";
import { formatUsd, type NanoUsd, parseUsd } from "../money.ts";
import { SCOPE_KINDS } from "../organizations/scopes.ts";

export const ENVIRONMENTS = ["production", "staging", "development"] as const;

const NAME_CHARACTERS_MAX = 200;
/** PostgreSQL refuses a NUL in text, and no other control character belongs into a name. */
const PRINTABLE = /^\P{Cc}*$/u;
const LIST_ITEMS_MAX = 100;
const ID_CHARACTERS_MAX = 100;

export const nameField = z
  .string()
  .trim()
  .min(1, "must not be empty")
  .max(NAME_CHARACTERS_MAX, `must have at most ${NAME_CHARACTERS_MAX} characters`)
  .regex(PRINTABLE, "must not contain control characters");

/** An id of one kind, in a path or body. */
export function idField(kind: IdKind, example: string) {
  return z
    .string()
    .max(ID_CHARACTERS_MAX, "is too long for an id")
    .refine((text) => isId(kind, text), `must be an id such as ${example}`)
    .meta({ example });
}

export const amountField = z
  .string()
  .regex(/^\d{1,9}(\.\d{1,9})?$/, 'must be US dollars as a decimal string, such as "12.5"')
  .transform((text): NanoUsd => parseUsd(text))
  .meta({ description: "US dollars as a decimal string, at most nine decimals.", example: "12.5" });

export const positiveAmountField = amountField.refine(
  (amountNanoUsd) => amountNanoUsd > 0n,
  "must be more than zero",
);

export const timeField = z.iso
  .datetime({ offset: true, error: "must be an ISO 8601 time with its zone" })
  .transform((text) => new Date(text))
  .meta({ example: "2027-01-01T00:00:00Z" });

export const providerField = z
  .string()
  .regex(/^[a-z][a-z0-9-]{0,39}$/, "must be a provider such as openai")
  .meta({ example: "openai" });

/** The name of a model as its provider writes it, or of a tool. */
export const modelField = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._:@/-]{0,199}$/, "must be a name such as gpt-4o-mini")
  .meta({ example: "gpt-4o-mini" });

export const modelGrantField = z
  .string()
  .regex(
    /^(\*|[a-z][a-z0-9-]{0,39}\/\*|[A-Za-z0-9][A-Za-z0-9._:@/-]{0,199})$/,
    "must be a model such as gpt-4o-mini, provider/model, * (all of OpenAI) or provider/*",
  )
  .meta({ example: "gpt-4o-mini" });

/** A list of at most 100. */
export function listField<Item extends z.ZodType>(item: Item) {
  return z.array(item).max(LIST_ITEMS_MAX, `must have at most ${LIST_ITEMS_MAX} items`);
}

export const scopeField = z.strictObject({
  kind: z.enum(SCOPE_KINDS),
  id: z.string().min(1).max(ID_CHARACTERS_MAX).regex(PRINTABLE, "must be an id"),
});

// What follows describes answers: they are typed by it, and nothing is parsed.

export const usd = z.string().meta({
  description: "US dollars as an exact decimal string.",
  example: "0.00123",
});

export const instant = z
  .string()
  .meta({ format: "date-time", example: "2026-11-21T09:30:00.000Z" });

export const scopeAnswer = z.strictObject({
  kind: z.enum(SCOPE_KINDS),
  id: z.string(),
  name: z.string().nullable().meta({ description: "Null when it was removed." }),
});

export function usdOrNull(amountNanoUsd: NanoUsd | null): string | null {
  return amountNanoUsd === null ? null : formatUsd(amountNanoUsd);
}

export function timeOrNull(time: Date | null): string | null {
  return time?.toISOString() ?? null;
}
