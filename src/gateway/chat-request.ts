/**
 * A chat completion as a caller sent it: what Spendra has to know of it, checked, beside its exact
 * text. Fields that Spendra does not rely on are not looked at and pass through.
 */
import { z } from "zod";
import { PublicError } from "../errors.ts";
import { type JsonMember, membersOf } from "./json-members.ts";

const CHOICES_MAX = 128;

const contentPart = z.looseObject({ type: z.string().optional() });

const chatSchema = z.looseObject({
  model: z.string().min(1).max(200),
  messages: z
    .array(
      z.looseObject({
        content: z.union([z.string(), z.array(contentPart)]).nullish(),
      }),
    )
    .min(1),
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({ include_usage: z.boolean().nullish() }).nullish(),
  max_tokens: z.int().positive().nullish(),
  max_completion_tokens: z.int().positive().nullish(),
  n: z.int().positive().max(CHOICES_MAX).nullish(),
  modalities: z.array(z.string()).nullish(),
  service_tier: z.string().nullish(),
  web_search_options: z.looseObject({}).nullish(),
});

export type ChatBody = z.infer<typeof chatSchema>;
export type ContentPart = z.infer<typeof contentPart>;

export type ChatRequest = {
  /** The body as it came. */
  readonly text: string;
  readonly body: ChatBody;
  readonly isStreaming: boolean;
  /** Whether the caller asked for the usage chunk; otherwise it is taken out of the stream. */
  readonly wantsUsageChunk: boolean;
};

/** Throws `PublicError` `invalid_request` that names the field and the reason. */
export function parseChatRequest(text: string): ChatRequest {
  const value = parseJson(text);
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new PublicError("invalid_request", "The request body must be a JSON object.");
  }
  const members = membersOf(text);
  refuseDuplicates(members, "");
  // Spendra writes into this one, and must not write into the copy that the provider ignores.
  const options = members.find(({ name }) => name === "stream_options");
  if (options !== undefined && text[options.valueStart] === "{") {
    refuseDuplicates(membersOf(text, options.valueStart), "stream_options.");
  }
  const parsed = chatSchema.safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const param = issue?.path.join(".") ?? "";
    throw new PublicError("invalid_request", `${param}: ${issue?.message ?? "is invalid"}`, {
      param,
    });
  }
  return {
    text,
    body: parsed.data,
    isStreaming: parsed.data.stream === true,
    wantsUsageChunk: parsed.data.stream_options?.include_usage === true,
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The parser's own message may quote the prompt, so it is not passed on.
    throw new PublicError("invalid_request", "The request body is not valid JSON.");
  }
}

/** Of two `max_tokens` the provider might take the other one than we do, and break the bound. */
function refuseDuplicates(members: readonly JsonMember[], path: string): void {
  const seen = new Set<string>();
  for (const { name } of members) {
    if (seen.has(name)) {
      const param = path + name.slice(0, 100);
      throw new PublicError("invalid_request", `${param}: is given twice`, { param });
    }
    seen.add(name);
  }
}
