/**
 * How much of a streamed answer has been seen, and how much of that the provider's usage covers:
 * what a settlement goes by when the stream is cut before its end. Costs the common way an addition
 * an event; looks into an event only when an estimate is wanted.
 */
import type { ReadUsage } from "../usage/buckets.ts";
import { BYTES_PER_TOKEN } from "../usage/estimate.ts";
import { ChatStreamReader } from "./chat-stream-reader.ts";
import { dataOf } from "./sse-events.ts";

/** A place in the answer: how many events with data, and how many bytes of them, came before it. */
export type TallyMark = { readonly events: number; readonly bytes: number };

type Chunk = { readonly choices: readonly unknown[]; readonly usage?: unknown };

const DATA_MARK = Buffer.from("data:");
/** Quotes inside a text are escaped, so that no text looks like this. */
const USAGE_MARKS = [Buffer.from('"usage":{'), Buffer.from('"usage": {')];
const START: TallyMark = { events: 0, bytes: 0 };

export class AnswerTally {
  readonly #reader: ChatStreamReader;
  #events = 0;
  #bytes = 0;
  #lastEvent: Buffer | null = null;
  #reportedAt = START;
  #isDone = false;

  constructor(options: { hidesUsageChunk: boolean }) {
    this.#reader = new ChatStreamReader(options);
  }

  /** The stream's last event has come: what was reported by then covers the whole answer. */
  get isDone(): boolean {
    return this.#isDone;
  }

  /** The last usage that the provider reported, or null. */
  get usage(): ReadUsage | null {
    return this.#reader.usage;
  }

  /** `ChatStreamReader.push`, counted. */
  push(chunk: Uint8Array): { forward: Buffer[]; end: Buffer[] } {
    const usageBefore = this.#reader.usage;
    const read = this.#reader.push(chunk);
    for (const event of read.forward) {
      if (hasData(event)) {
        this.#events++;
        this.#bytes += event.length;
        this.#lastEvent = event;
      }
    }
    if (this.#reader.usage !== usageBefore) {
      this.#reportedAt = this.#markBehindUsage(read.forward);
    }
    this.#isDone ||= read.end.length > 0;
    return read;
  }

  /** `ChatStreamReader.rest`; usage in it covers what came before. */
  rest(): Buffer {
    const usageBefore = this.#reader.usage;
    const rest = this.#reader.rest();
    if (this.#reader.usage !== usageBefore) {
      this.#reportedAt = this.mark();
    }
    return rest;
  }

  mark(): TallyMark {
    return { events: this.#events, bytes: this.#bytes };
  }

  /**
   * About how much text came after the mark, in bytes: at least a token's worth an event, because
   * no provider sends less. The JSON around the text is taken to be as long as in the last event.
   */
  textBytesSince(mark: TallyMark): bigint {
    const events = this.#events - mark.events;
    if (events === 0 || this.#lastEvent === null) {
      return 0n;
    }
    const envelopeBytes = this.#lastEvent.length - textBytesOf(chunkOf(this.#lastEvent));
    const textBytes = BigInt(this.#bytes - mark.bytes - events * envelopeBytes);
    const least = BigInt(events) * BYTES_PER_TOKEN;
    return textBytes > least ? textBytes : least;
  }

  /** `textBytesSince` the last usage that the provider reported, else since the start. */
  get unreportedBytes(): bigint {
    return this.textBytesSince(this.#reportedAt);
  }

  /**
   * Whether the reported usage is all that will be billed. Some servers report with every chunk
   * what was used so far; when such a stream is cut, its last report is only a part.
   */
  get isReportComplete(): boolean {
    if (this.#isDone || this.#lastEvent === null) {
      return true;
    }
    return this.unreportedBytes === 0n && !isReportOnTheWay(chunkOf(this.#lastEvent));
  }

  /** Several events may come at once. A usage chunk that was taken out of them covers them all. */
  #markBehindUsage(events: readonly Buffer[]): TallyMark {
    const at = events.findLastIndex((event) => USAGE_MARKS.some((mark) => event.includes(mark)));
    const behind = at < 0 ? [] : events.slice(at + 1).filter(hasData);
    const bytes = behind.reduce((sum, event) => sum + event.length, 0);
    return { events: this.#events - behind.length, bytes: this.#bytes - bytes };
  }
}

/** Comments keep connections open and are no part of the answer. */
function hasData(event: Buffer): boolean {
  return event.includes(DATA_MARK);
}

/** Usage beside a choice that has not finished. */
function isReportOnTheWay(chunk: Chunk | null): boolean {
  const isUnfinished = (choice: unknown) =>
    ((choice as { finish_reason?: unknown } | null)?.finish_reason ?? null) === null;
  return (chunk?.usage ?? null) !== null && (chunk?.choices.some(isUnfinished) ?? false);
}

function chunkOf(event: Buffer): Chunk | null {
  try {
    const value: unknown = JSON.parse(dataOf(event) ?? "null");
    const choices = (value as { choices?: unknown } | null)?.choices;
    return Array.isArray(choices) ? { ...(value as object), choices } : null;
  } catch {
    // Not JSON: no text that we know of, so the event counts as one token.
    return null;
  }
}

/** What the model wrote: all texts of the choices' deltas, but for the name of its role. */
function textBytesOf(chunk: Chunk | null): number {
  let bytes = 0;
  const deltas = chunk?.choices.map((choice) => (choice as { delta?: unknown } | null)?.delta);
  JSON.stringify(deltas ?? [], (name, value: unknown) => {
    bytes += typeof value === "string" && name !== "role" ? Buffer.byteLength(value) : 0;
    return value;
  });
  return bytes;
}
