/** Finds the end of an HTTP/1.1 answer, by its length or by its chunks (RFC 9112 §7.1). */

const HEAD_END = "\r\n\r\n";
const TEXT_CHARACTERS = 300;
const LF = 10;

export class AnswerReader {
  status = 0;
  /** When the first byte of the body came, by `performance.now()`. */
  firstByteMs = 0;
  /** The beginning of the answer, for a message. */
  firstText = "";
  #head: Buffer | null = null;
  #isInBody = false;
  #isChunked = false;
  /** Bytes of the body or of the chunk that are still to come. */
  #left = 0;
  #sizeLine = "";
  #isLastChunk = false;

  begin(): void {
    this.#head = null;
    this.#isInBody = false;
    this.#sizeLine = "";
    this.#isLastChunk = false;
    this.firstByteMs = 0;
  }

  /** Answers true when this chunk ends the answer. */
  push(chunk: Buffer): boolean {
    if (this.#isInBody) {
      return this.#pushBody(chunk, 0);
    }
    const head = this.#head === null ? chunk : Buffer.concat([this.#head, chunk]);
    const end = head.indexOf(HEAD_END);
    if (end < 0) {
      this.#head = head;
      return false;
    }
    const text = head.toString("latin1", 0, end).toLowerCase();
    this.status = Number(text.slice(9, 12));
    if (this.status !== 200) {
      this.firstText = head.toString("utf8", end, end + TEXT_CHARACTERS);
    }
    this.#isChunked = text.includes("transfer-encoding: chunked");
    const length = /content-length: (\d+)/.exec(text)?.[1];
    this.#left = this.#isChunked ? 0 : Number(length ?? 0);
    this.#isInBody = true;
    return this.#pushBody(head, end + HEAD_END.length);
  }

  #pushBody(bytes: Buffer, from: number): boolean {
    if (from < bytes.length && this.firstByteMs === 0) {
      this.firstByteMs = performance.now();
    }
    if (this.#isChunked) {
      return this.#pushChunks(bytes, from);
    }
    this.#left -= bytes.length - from;
    return this.#left <= 0;
  }

  #pushChunks(bytes: Buffer, from: number): boolean {
    let at = from;
    while (at < bytes.length) {
      if (this.#left > 0) {
        const taken = Math.min(this.#left, bytes.length - at);
        this.#left -= taken;
        at += taken;
        continue;
      }
      const byte = bytes[at++] ?? 0;
      if (byte !== LF) {
        this.#sizeLine += String.fromCharCode(byte);
        continue;
      }
      const line = this.#sizeLine.trim();
      this.#sizeLine = "";
      const size = Number.parseInt(line, 16);
      if (line === "" && this.#isLastChunk) {
        return true;
      }
      this.#isLastChunk = line !== "" && size === 0;
      // An empty line ends the data of the chunk before it.
      this.#left = line === "" ? 0 : size;
    }
    return false;
  }
}
