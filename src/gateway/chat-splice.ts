/**
 * The body that goes to the provider: the caller's own text with at most two things put in, the
 * output limit that the reservation was made for and the wish for a usage chunk.
 */
import type { ChatBounds } from "./chat-bounds.ts";
import type { ChatRequest } from "./chat-request.ts";
import { insertMember, membersOf, replaceValue } from "./json-members.ts";

export function spliceChatBody(
  chat: ChatRequest,
  bounds: ChatBounds,
  completionLimitField: string,
): Uint8Array<ArrayBuffer> {
  let text = chat.text;
  if (chat.isStreaming && !chat.wantsUsageChunk) {
    text = askForUsage(text);
  }
  if (chat.body.max_tokens == null && chat.body.max_completion_tokens == null) {
    text = setMember(text, completionLimitField, bounds.completionTokensPerChoice.toString());
  }
  return new TextEncoder().encode(text);
}

function askForUsage(text: string): string {
  const options = membersOf(text).find(({ name }) => name === "stream_options");
  if (options === undefined || text[options.valueStart] !== "{") {
    return setMember(text, "stream_options", '{"include_usage":true}');
  }
  const inner = membersOf(text, options.valueStart).find(({ name }) => name === "include_usage");
  return inner === undefined
    ? insertMember(text, "include_usage", "true", options.valueStart)
    : replaceValue(text, inner, "true");
}

/** A member that is there with `null` is replaced; two of one name would be ambiguous. */
function setMember(text: string, name: string, valueJson: string): string {
  const present = membersOf(text).find((member) => member.name === name);
  return present === undefined
    ? insertMember(text, name, valueJson)
    : replaceValue(text, present, valueJson);
}
