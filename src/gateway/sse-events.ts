/**
 * Cuts a server-sent event stream into events without changing a byte (WHATWG HTML, "Server-sent
 * events"): an event ends with an empty line, and a line with LF, CR LF or CR. What has no end yet
 * is kept until it has, so that an event can be judged before any part of it is passed on.
 */

/** Beyond this an event is passed on unjudged: memory of a stream stays bounded. */
const EVENT_BYTES_MAX = 16 * 1024 * 1024;

const LF = 10;
const CR = 13;

/** Each byte is looked at once, however small the chunks are in which a large event comes. */
export class EventSplitter {
  /** The beginning of the event that has not ended; grows by doubling. */
  #kept: Buffer = Buffer.alloc(0);
  #keptBytes = 0;
  #isLineEmpty = true;
  /** The last byte was a CR: whether an LF belongs to it is known with the next one. */
  #isAfterCr = false;
  /** That CR ended an empty line, and with it the event. */
  #isEventOver = false;

  /** Answers the events that are complete now, in order. Joined, they are what came in. */
  push(chunk: Uint8Array): Buffer[] {
    const bytes = asBuffer(chunk);
    const events: Buffer[] = [];
    let start = 0;
    const cut = (end: number) => {
      events.push(this.#take(bytes.subarray(start, end)));
      start = end;
    };
    // Only line ends decide anything, and the search for them is native: 48 events of 260 bytes
    // take 6 µs this way and 70 µs byte by byte.
    const lineEnds = new LineEnds(bytes);
    for (let index = 0; index < bytes.length; index++) {
      const next = this.#isEventOver ? index : lineEnds.nextFrom(index);
      if (next > index) {
        this.#isAfterCr = false;
        this.#isLineEmpty = false;
        index = next;
      }
      const byte = bytes[index];
      const isLfOfCr = this.#isAfterCr && byte === LF;
      if (this.#isEventOver) {
        cut(isLfOfCr ? index + 1 : index);
      }
      const endsEvent = this.#isLineEmpty && !isLfOfCr && (byte === LF || byte === CR);
      this.#isAfterCr = byte === CR;
      this.#isEventOver = endsEvent && byte === CR;
      this.#isLineEmpty = byte === LF || byte === CR;
      if (endsEvent && byte === LF) {
        cut(index + 1);
      }
    }
    this.#keep(bytes.subarray(start));
    if (this.#keptBytes > EVENT_BYTES_MAX) {
      events.push(this.end());
      this.#forget();
    }
    return events;
  }

  /** What is left when the stream ends: the beginning of an event that never ended. */
  end(): Buffer {
    return this.#kept.subarray(0, this.#keptBytes);
  }

  /** The whole event, of which this is the last part. */
  #take(last: Buffer): Buffer {
    if (this.#keptBytes === 0) {
      return last;
    }
    this.#keep(last);
    const event = this.end();
    this.#forget();
    return event;
  }

  #keep(part: Buffer): void {
    const bytes = this.#keptBytes + part.length;
    if (bytes > this.#kept.length) {
      const larger = Buffer.alloc(Math.max(bytes, this.#kept.length * 2));
      this.#kept.copy(larger, 0, 0, this.#keptBytes);
      this.#kept = larger;
    }
    part.copy(this.#kept, this.#keptBytes);
    this.#keptBytes = bytes;
  }

  #forget(): void {
    this.#kept = Buffer.alloc(0);
    this.#keptBytes = 0;
  }
}

/** Finds the next LF or CR; asked with positions that never go back. */
class LineEnds {
  readonly #bytes: Buffer;
  #nextLf = -1;
  #nextCr = -1;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** The position of one at or behind this one; the length of all when there is none. */
  nextFrom(position: number): number {
    if (this.#nextLf < position) {
      this.#nextLf = this.#find(LF, position);
    }
    if (this.#nextCr < position) {
      this.#nextCr = this.#find(CR, position);
    }
    return Math.min(this.#nextLf, this.#nextCr);
  }

  #find(byte: number, from: number): number {
    const found = this.#bytes.indexOf(byte, from);
    return found < 0 ? this.#bytes.length : found;
  }
}

/** The data of an event: its `data` fields joined by line feeds; null when it has none. */
export function dataOf(event: Buffer): string | null {
  // A byte order mark may precede the first event of a stream.
  const lines = event
    .toString("utf8")
    .replace(/^\uFEFF/, "")
    .split(/\r\n|\n|\r/);
  const data = lines
    .filter((line) => line.startsWith("data:"))
    .map((line) => line.slice("data:".length).replace(/^ /, ""));
  return data.length === 0 ? null : data.join("\n");
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
