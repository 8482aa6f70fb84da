/** How long what people hand out is good for: a default, and a longest. */
import { timeField } from "./fields.ts";
import { InvalidFieldsError } from "./problem.ts";

type Lifetime = { daysDefault: number; daysMax: number };

const DAY_MS = 24 * 60 * 60 * 1000;

export function expiryField({ daysDefault, daysMax }: Lifetime) {
  return timeField.optional().meta({
    description: `${daysDefault} days from now by default, ${daysMax} days at most.`,
  });
}

/** When it ends. Throws for an instant that has passed or is too far away. */
export function lifetimeEnd(wanted: Date | undefined, lifetime: Lifetime, now: Date): Date {
  const expiresAt = wanted ?? new Date(now.getTime() + lifetime.daysDefault * DAY_MS);
  const leftMs = expiresAt.getTime() - now.getTime();
  if (leftMs <= 0 || leftMs > lifetime.daysMax * DAY_MS) {
    const reason = `must be in the future, and at most ${lifetime.daysMax} days away`;
    throw new InvalidFieldsError([{ field: "expiresAt", reason }]);
  }
  return expiresAt;
}
