/**
 * Reads a chat completion's stream on the side: which events the caller gets, what the provider
 * says was used, and how much text went by if it never says. Changes no byte.
 */
import type { ReadUsage } from "../usage/buckets.ts";
import { readOpenAiChatUsage } from "../usage/openai-chat.ts";
import { dataOf, EventSplitter } from "./sse-events.ts";

const USAGE_MARK = Buffer.from('"usage"');
const NO_USAGE_MARK = Buffer.from('"usage":null');
const DONE_MARK = Buffer.from("[DONE]");
/** A chunk's text is inside about this much JSON; only the estimate goes by it. */
const CHUNK_ENVELOPE_BYTES = 200;

export class ChatStreamReader {
  readonly #splitter = new EventSplitter();
  readonly #hidesUsageChunk: boolean;
  #usage: ReadUsage | null = null;
  #completionBytes = 0;
  #isDone = false;

  constructor(options: { hidesUsageChunk: boolean }) {
    this.#hidesUsageChunk = options.hidesUsageChunk;
  }

  /** The last usage that the provider reported, or null. */
  get usage(): ReadUsage | null {
    return this.#usage;
  }

  /** About how much text has gone by, in bytes; for an estimate. */
  get completionBytes(): bigint {
    return BigInt(this.#completionBytes);
  }

  /**
   * Takes the provider's next bytes. `forward` may leave at once; `end` is the stream's last event
   * (`data: [DONE]`) and what follows it, which leaves only when the cost is booked.
   */
  push(chunk: Uint8Array): { forward: Buffer[]; end: Buffer[] } {
    const forward: Buffer[] = [];
    const end: Buffer[] = [];
    for (const event of this.#splitter.push(chunk)) {
      this.#isDone ||= isDoneEvent(event);
      if (!this.#takesOut(event)) {
        (this.#isDone ? end : forward).push(event);
      }
    }
    return { forward, end };
  }

  /** What the stream left when it ended without an empty line; its usage counts all the same. */
  rest(): Buffer {
    const rest = this.#splitter.end();
    return rest.length > 0 && this.#takesOut(rest) ? Buffer.alloc(0) : rest;
  }

  /** Looks at an event; answers whether it is the usage chunk that the caller did not ask for. */
  #takesOut(event: Buffer): boolean {
    this.#completionBytes += Math.max(event.length - CHUNK_ENVELOPE_BYTES, 1);
    if (!mayReportUsage(event)) {
      return false;
    }
    const chunk = parseChunk(event);
    if (chunk === null) {
      return false;
    }
    const usage = readOpenAiChatUsage(chunk["usage"]);
    this.#usage = usage ?? this.#usage;
    const { choices } = chunk as { choices?: unknown };
    const isOnlyUsage = usage !== null && Array.isArray(choices) && choices.length === 0;
    return isOnlyUsage && this.#hidesUsageChunk;
  }
}

/** A stream that was asked for usage says "usage":null in every chunk but the one that has it. */
function mayReportUsage(event: Buffer): boolean {
  const at = event.indexOf(USAGE_MARK);
  if (at < 0) {
    return false;
  }
  const isNull = event.subarray(at, at + NO_USAGE_MARK.length).equals(NO_USAGE_MARK);
  return !isNull || event.includes(USAGE_MARK, at + NO_USAGE_MARK.length);
}

function isDoneEvent(event: Buffer): boolean {
  return event.includes(DONE_MARK) && dataOf(event)?.trim() === "[DONE]";
}

function parseChunk(event: Buffer): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(dataOf(event) ?? "null");
    return typeof value === "object" ? (value as Record<string, unknown> | null) : null;
  } catch {
    // Not JSON: passed on as it is; if no other event has usage, the call is settled by estimate.
    return null;
  }
}
