/**
 * The most tokens that a chat completion can be billed for, read off the request. Pure.
 *
 * Text: a token is at least one byte, and the JSON around a message is longer than the few tokens
 * a message adds, so the bytes of the body bound the tokens of the prompt. Images, audio and
 * documents are counted by the provider's rule instead of by the bytes they are sent in.
 */
import type { TokenBounds } from "../pricing/upper-bound.ts";
import type { ChatBody, ChatRequest, ContentPart } from "./chat-request.ts";

/**
 * The dearest image by OpenAI's rule: gpt-4o-mini in high detail, 2,833 + 8 tiles × 5,667. Source:
 * OpenAI, "Images and vision", "Calculating costs".
 */
const IMAGE_TOKENS_MAX = 2_833 + 8 * 5_667;

/** Audio: ten tokens a second; MP3 has at least 1,000 bytes a second, 1,333 in base64. */
const AUDIO_BASE64_BYTES_PER_TOKEN = 128;

export type ChatBounds = TokenBounds & {
  /** Per choice; what the request is limited to when it names no limit itself. */
  readonly completionTokensPerChoice: bigint;
};

/**
 * These models search the web for every answer, asked or not. Source: OpenAI, "Web search", "Chat
 * Completions".
 */
const ALWAYS_SEARCHES = /-search-(preview|api)\b/;

type Attachments = {
  images: number;
  hasAudio: boolean;
  audioBytes: number;
  documents: number;
  inlineBytes: number;
};

/**
 * `completionTokensDefault` counts where the request names no limit. `contextTokensMax` bounds any
 * prompt; without it a request with a document has no bound: null.
 */
export function boundChat(
  chat: ChatRequest,
  completionTokensDefault: number,
  contextTokensMax: bigint | null,
): ChatBounds | null {
  const { body } = chat;
  const attachments = countAttachments(body);
  const promptTokensMax = boundPrompt(Buffer.byteLength(chat.text), attachments, contextTokensMax);
  if (promptTokensMax === null) {
    return null;
  }
  const perChoice = BigInt(
    Math.max(body.max_completion_tokens ?? 0, body.max_tokens ?? 0) || completionTokensDefault,
  );
  return {
    promptTokensMax,
    completionTokensPerChoice: perChoice,
    completionTokensMax: perChoice * BigInt(body.n ?? 1),
    searchesMax: body.web_search_options == null && !ALWAYS_SEARCHES.test(body.model) ? 0n : 1n,
    hasAudio: attachments.hasAudio || (body.modalities?.includes("audio") ?? false),
  };
}

function boundPrompt(
  bodyBytes: number,
  attachments: Attachments,
  contextTokensMax: bigint | null,
): bigint | null {
  if (attachments.documents > 0) {
    return contextTokensMax;
  }
  const tokens = BigInt(
    bodyBytes -
      attachments.inlineBytes +
      attachments.images * IMAGE_TOKENS_MAX +
      Math.ceil(attachments.audioBytes / AUDIO_BASE64_BYTES_PER_TOKEN),
  );
  return contextTokensMax !== null && contextTokensMax < tokens ? contextTokensMax : tokens;
}

function countAttachments(body: ChatBody): Attachments {
  const total = { images: 0, hasAudio: false, audioBytes: 0, documents: 0, inlineBytes: 0 };
  for (const { content, audio } of body.messages) {
    if (audio != null) {
      // Earlier audio answers are sent by id and read again; how long they were is not in the body.
      total.documents++;
      total.hasAudio = true;
    }
    if (Array.isArray(content)) {
      for (const part of content) {
        countPart(part, total);
      }
    }
  }
  return total;
}

function countPart(part: ContentPart, total: Attachments): void {
  if (part.type === "image_url") {
    const url = textAt(part["image_url"], "url");
    total.images++;
    total.inlineBytes += url.startsWith("data:") ? url.length : 0;
  } else if (part.type === "input_audio") {
    const data = textAt(part["input_audio"], "data");
    total.hasAudio = true;
    total.audioBytes += data.length;
    total.inlineBytes += data.length;
  } else if (part.type !== "text" && part.type !== "refusal") {
    // A file, or a kind of part that a server has and we do not know: a video by its URL, say.
    total.documents++;
  }
}

/** A string inside an object, or the empty one: what is malformed is the provider's to refuse. */
function textAt(value: unknown, name: string): string {
  const text = (value as Record<string, unknown> | null | undefined)?.[name];
  return typeof text === "string" ? text : "";
}
