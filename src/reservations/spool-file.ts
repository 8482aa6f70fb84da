/**
 * An append-only file of records that survive a crash: each is its length (4 bytes, little endian),
 * the CRC-32 of its text (4 bytes) and the text in UTF-8. A record counts once it is fsynced. What
 * was cut off in the middle of a write has a wrong length or CRC: everything before it is good.
 */
import { type FileHandle, open, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { crc32 } from "node:zlib";

const HEADER_BYTES = 8;
/** No record of ours is longer; a greater length is a torn header. */
const RECORD_BYTES_MAX = 4 * 1024 * 1024;

type Appending = {
  bytes: Buffer;
  resolve: () => void;
  reject: (error: unknown) => void;
};

export class SpoolFile {
  readonly #file: FileHandle;
  #waiting: Appending[] = [];
  #isWriting = false;
  /** There may be the beginning of a record behind the last whole one. */
  #isTorn = false;
  #length: number;

  private constructor(file: FileHandle, length: number) {
    this.#file = file;
    this.#length = length;
  }

  /**
   * Opens or creates the file and reads the records in it. A torn tail is kept beside it as
   * `<path>.torn` and cut off; `tornBytes` says how long it was.
   */
  static async open(
    path: string,
  ): Promise<{ spoolFile: SpoolFile; records: string[]; tornBytes: number }> {
    const file = await open(path, "a+", 0o600);
    const bytes = await file.readFile();
    const { records, length } = readRecords(bytes);
    const tornBytes = bytes.length - length;
    if (tornBytes > 0) {
      await keepTorn(`${path}.torn`, bytes.subarray(length));
      await file.truncate(length);
      await file.sync();
    }
    await syncDirectory(dirname(path));
    return { spoolFile: new SpoolFile(file, length), records, tornBytes };
  }

  /** How long the file will be when everything that waits is in it. */
  get length(): number {
    return this.#waiting.reduce((sum, { bytes }) => sum + bytes.length, this.#length);
  }

  /** Resolves once the record would survive a power cut. Rejects when it was not written whole. */
  append(text: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ bytes: encodeRecord(text), resolve, reject });
      this.#writeWaiting();
    });
  }

  /**
   * Empties the file. Only for when everything in it is kept elsewhere. Does nothing while a record
   * is on its way in: whoever brings that one clears up later.
   */
  async clear(): Promise<void> {
    if (this.#isWriting || this.#waiting.length > 0) {
      return;
    }
    this.#isWriting = true;
    try {
      await this.#file.truncate(0);
      this.#length = 0;
      await this.#file.datasync();
    } finally {
      this.#isWriting = false;
      this.#writeWaiting();
    }
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  /** One write and one fsync for all that waits; the next round when they have returned. */
  #writeWaiting(): void {
    if (this.#isWriting || this.#waiting.length === 0) {
      return;
    }
    this.#isWriting = true;
    const round = this.#waiting;
    this.#waiting = [];
    this.#write(Buffer.concat(round.map(({ bytes }) => bytes)))
      .then(
        () => {
          for (const { resolve } of round) {
            resolve();
          }
        },
        (error: unknown) => {
          for (const { reject } of round) {
            reject(error);
          }
        },
      )
      .finally(() => {
        this.#isWriting = false;
        this.#writeWaiting();
      });
  }

  async #write(bytes: Buffer): Promise<void> {
    if (this.#isTorn) {
      await this.#cutOff();
    }
    this.#isTorn = true;
    try {
      await this.#file.appendFile(bytes);
      await this.#file.datasync();
      this.#length += bytes.length;
      this.#isTorn = false;
    } catch (error) {
      // A disk that cannot even do this is asked again before the next record.
      await this.#cutOff().catch(() => {});
      throw error;
    }
  }

  /** Half a record would hide all that come after it. */
  async #cutOff(): Promise<void> {
    await this.#file.truncate(this.#length);
    this.#isTorn = false;
  }
}

export function encodeRecord(text: string): Buffer {
  const body = Buffer.from(text, "utf8");
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32LE(body.length, 0);
  header.writeUInt32LE(crc32(body), 4);
  return Buffer.concat([header, body]);
}

/** The records up to the first that is not whole, and how many bytes they take. */
export function readRecords(bytes: Buffer): { records: string[]; length: number } {
  const records: string[] = [];
  let offset = 0;
  while (offset + HEADER_BYTES <= bytes.length) {
    const length = bytes.readUInt32LE(offset);
    const end = offset + HEADER_BYTES + length;
    const body = bytes.subarray(offset + HEADER_BYTES, end);
    if (length === 0 || length > RECORD_BYTES_MAX || end > bytes.length) {
      break;
    }
    if (crc32(body) !== bytes.readUInt32LE(offset + 4)) {
      break;
    }
    records.push(body.toString("utf8"));
    offset = end;
  }
  return { records, length: offset };
}

async function keepTorn(path: string, bytes: Buffer): Promise<void> {
  const draft = await open(`${path}.draft`, "w", 0o600);
  await draft.writeFile(bytes);
  await draft.sync();
  await draft.close();
  await rename(`${path}.draft`, path);
}

/** A new file's name survives a power cut only when its directory was synced. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
