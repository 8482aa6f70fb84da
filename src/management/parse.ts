/** From what a caller sent to typed values, or to a refusal that names every bad field. */
import type { z } from "zod";
import { PublicError } from "../errors.ts";
import { type FieldReason, InvalidFieldsError } from "./problem.ts";

const BODY_BYTES_MAX = 1024 * 1024;
const REASONS_MAX = 20;
/** A caller's own field name is repeated to it, but not ten thousand characters of it. */
const FIELD_CHARACTERS_MAX = 100;

/** Throws `InvalidFieldsError` unless the value fits the schema. */
export function parseWith<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
): z.output<Schema> {
  const parsed = schema.safeParse(value);
  if (!parsed.success) {
    throw new InvalidFieldsError(parsed.error.issues.flatMap(reasonsOf).slice(0, REASONS_MAX));
  }
  return parsed.data;
}

/** The query as a record. Throws for a name that is given twice: which one was meant is a guess. */
export function readQuery(request: Request): Record<string, string> {
  const query: Record<string, string> = {};
  for (const [name, value] of new URL(request.url).searchParams) {
    if (Object.hasOwn(query, name)) {
      throw new InvalidFieldsError([{ field: shorten(name), reason: "is given more than once" }]);
    }
    query[name] = value;
  }
  return query;
}

/** The body as JSON. Throws `invalid_request` or `request_too_large`. */
export async function readJsonBody(request: Request): Promise<unknown> {
  const contentType = request.headers.get("content-type") ?? "";
  // Also keeps out forms of other sites, which cannot send this type without being asked first.
  if (contentType.split(";", 1)[0]?.trim().toLowerCase() !== "application/json") {
    throw new PublicError("invalid_request", "The content-type must be application/json.");
  }
  const text = await readText(request);
  try {
    return JSON.parse(text);
  } catch {
    throw new PublicError("invalid_request", "The body is not valid JSON.");
  }
}

async function readText(request: Request): Promise<string> {
  const parts: Uint8Array[] = [];
  let readBytes = 0;
  for await (const part of request.body ?? []) {
    readBytes += part.byteLength;
    if (readBytes > BODY_BYTES_MAX) {
      throw new PublicError("request_too_large", `At most ${BODY_BYTES_MAX} bytes are accepted.`);
    }
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

function reasonsOf(issue: z.core.$ZodIssue): FieldReason[] {
  const path = issue.path.map(String);
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => ({
      field: shorten([...path, key].join(".")),
      reason: "is not a known field",
    }));
  }
  return [{ field: shorten(path.join(".")) || "body", reason: issue.message }];
}

function shorten(name: string): string {
  return name.slice(0, FIELD_CHARACTERS_MAX);
}
