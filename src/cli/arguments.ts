/** Reads flags; what is not known is an error, so that a misspelt flag never goes unnoticed. */
import { parseArgs } from "node:util";
import { UsageError } from "./command.ts";

/** Answers which of the allowed flags were given. Throws `UsageError` for anything else. */
export function readFlags<Flag extends string>(
  args: readonly string[],
  allowed: readonly Flag[],
): ReadonlySet<Flag> {
  const options = Object.fromEntries(allowed.map((flag) => [flag, { type: "boolean" as const }]));
  try {
    const { values } = parseArgs({ args: [...args], options, strict: true });
    return new Set(allowed.filter((flag) => values[flag] === true));
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : "the arguments are wrong");
  }
}
