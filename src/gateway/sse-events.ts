/**
 * Cuts a server-sent event stream into events without changing a byte (WHATWG HTML, "Server-sent
 * events"): an event ends with an empty line, and a line with LF, CR LF or CR. What has no end yet
 * is kept until it has, so that an event can be judged before any part of it is passed on.
 */

/** Beyond this an event is passed on unjudged: memory of a stream stays bounded. */
const EVENT_BYTES_MAX = 16 * 1024 * 1024;

const LF = 10;
const CR = 13;

export class EventSplitter {
  #rest: Buffer = Buffer.alloc(0);

  /** Answers the events that are complete now, in order. Joined, they are what came in. */
  push(chunk: Uint8Array): Buffer[] {
    const bytes = this.#rest.length === 0 ? asBuffer(chunk) : Buffer.concat([this.#rest, chunk]);
    const events: Buffer[] = [];
    let start = 0;
    for (let end = endOfEvent(bytes, 0); end !== -1; end = endOfEvent(bytes, start)) {
      events.push(bytes.subarray(start, end));
      start = end;
    }
    this.#rest = bytes.subarray(start);
    if (this.#rest.length > EVENT_BYTES_MAX) {
      events.push(this.#rest);
      this.#rest = Buffer.alloc(0);
    }
    return events;
  }

  /** What is left when the stream ends: the beginning of an event that never ended. */
  end(): Buffer {
    return this.#rest;
  }
}

/** The data of an event: its `data` fields joined by line feeds; null when it has none. */
export function dataOf(event: Buffer): string | null {
  const lines = event.toString("utf8").split(/\r\n|\n|\r/);
  const data = lines
    .filter((line) => line.startsWith("data:"))
    .map((line) => line.slice("data:".length).replace(/^ /, ""));
  return data.length === 0 ? null : data.join("\n");
}

/** The index behind the first empty line at or after `from`, or -1. */
function endOfEvent(bytes: Buffer, from: number): number {
  let lineStart = from;
  for (let index = from; index < bytes.length; index++) {
    const byte = bytes[index];
    if (byte !== LF && byte !== CR) {
      continue;
    }
    if (byte === CR && index + 1 === bytes.length) {
      // Whether an LF belongs to this CR is known with the next chunk.
      return -1;
    }
    const next = byte === CR && bytes[index + 1] === LF ? index + 2 : index + 1;
    if (index === lineStart) {
      return next;
    }
    lineStart = next;
    index = next - 1;
  }
  return -1;
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
