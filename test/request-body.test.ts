/** How a body is read, over real connections: with its length announced, in chunks, and cut off. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { connect, type Socket } from "node:net";
import { PublicError } from "../src/errors.ts";
import { readBodyText } from "../src/gateway/request-body.ts";

const HEAD = "POST / HTTP/1.1\r\nhost: node\r\n";
const TEXT = '{"a":"é 你好 🙂","b":[1,2]}';
const BYTES = Buffer.from(TEXT);
const PIECE_BYTES = 7;

let server: Bun.Server<undefined>;
/** What became of the newest body: its text, or the refusal. */
let read = Promise.withResolvers<string>();

beforeAll(() => {
  server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: async (request) => {
      await readBodyText(request).then(read.resolve, read.reject);
      return new Response("read");
    },
  });
});

afterAll(() => server.stop(true));

const whole: readonly [string, string, Buffer[]][] = [
  ["with its length", `content-length: ${BYTES.length}\r\n\r\n`, pieces()],
  ["in chunks", "transfer-encoding: chunked\r\n\r\n", [...pieces().map(chunk), chunk()]],
];

test.each(whole)(
  "a body that comes piece by piece %s is exactly what was sent",
  async (...sent) => {
    const [, head, parts] = sent;
    const socket = await send(head, parts);
    expect(await read.promise).toBe(TEXT);
    socket.destroy();
  },
);

const cut: readonly [string, string, Buffer[]][] = [
  ["with its length", `content-length: ${BYTES.length + 1}\r\n\r\n`, pieces()],
  ["in chunks", "transfer-encoding: chunked\r\n\r\n", pieces().map(chunk)],
];

test.each(cut)(
  "a body %s that is cut off is refused, not taken for a shorter one",
  async (...sent) => {
    const [, head, parts] = sent;
    const socket = await send(head, parts);
    socket.destroy();
    const refusal = await read.promise.catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(PublicError);
    expect(refusal).toMatchObject({
      code: "invalid_request",
      message: "The request body ended early.",
    });
  },
);

test("a length beside chunks is not believed", async () => {
  const both = `content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n`;
  const socket = await send(both, [chunk(BYTES), chunk()]);
  const answer = await new Promise<string>((resolve) => {
    socket.once("data", (data: Buffer) => resolve(data.toString()));
  });
  expect(answer).toStartWith("HTTP/1.1 400 ");
  socket.destroy();
});

/** Sends the head, then each piece in a packet of its own. */
async function send(head: string, parts: readonly Buffer[]): Promise<Socket> {
  read = Promise.withResolvers<string>();
  read.promise.catch(() => {});
  const socket = connect({ port: server.port ?? 0, host: "127.0.0.1", noDelay: true });
  socket.on("error", () => {});
  for (const part of [Buffer.from(HEAD + head), ...parts]) {
    const written = Promise.withResolvers<void>();
    socket.write(part, () => written.resolve());
    await written.promise;
  }
  return socket;
}

/** Cut in the middle of characters. */
function pieces(): Buffer[] {
  const count = Math.ceil(BYTES.length / PIECE_BYTES);
  return Array.from({ length: count }, (_, index) =>
    BYTES.subarray(index * PIECE_BYTES, (index + 1) * PIECE_BYTES),
  );
}

/** RFC 9112 §7.1; the empty one is the last. */
function chunk(part: Buffer = Buffer.alloc(0)): Buffer {
  return Buffer.concat([Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from("\r\n")]);
}
