/**
 * Callers of streams, in a process of their own: each opens a connection, asks, and reads to the
 * end or, for a share of them, cuts the connection after the first byte. Reads a `StreamOrder` as
 * its one argument; prints `open` when every caller has had a
 * first byte and none its last, then a `StreamResult`.
 */
import { AnswerReader } from "./answer-reader.ts";

export type StreamOrder = {
  port: number;
  headers: Record<string, string>;
  body: string;
  callers: number;
  /** Each caller asks again until then; 0: once. */
  durationMs: number;
  abortedShare: number;
};

export type StreamResult = { completed: number; aborted: number; failed: number };

/** No stream of the bench lasts longer. */
const STREAM_TIMEOUT_MS = 120_000;
/** New connections at once; a listen queue is finite. */
const OPENING_MAX = 100;

const order = JSON.parse(process.argv[2] ?? "{}") as StreamOrder;
const result: StreamResult = { completed: 0, aborted: 0, failed: 0 };
const head = Object.entries({
  host: `127.0.0.1:${order.port}`,
  "content-type": "application/json",
  "content-length": `${Buffer.byteLength(order.body)}`,
  ...order.headers,
}).map(([name, value]) => `${name}: ${value}\r\n`);
const request = Buffer.from(
  `POST /v1/chat/completions HTTP/1.1\r\n${head.join("")}\r\n${order.body}`,
);
let asked = 0;
let open = 0;

async function ask(onFirstByte: () => void): Promise<void> {
  const isAborted =
    Math.floor(asked * order.abortedShare) !== Math.floor(++asked * order.abortedShare);
  const reader = new AnswerReader();
  const ended = Promise.withResolvers<keyof StreamResult>();
  const timer = setTimeout(() => ended.resolve("failed"), STREAM_TIMEOUT_MS);
  reader.begin();
  const socket = await Bun.connect({
    hostname: "127.0.0.1",
    port: order.port,
    socket: {
      open: (opened) => {
        opened.write(request);
      },
      data: (opened, chunk) => {
        const isFirst = reader.firstByteMs === 0;
        const isEnd = reader.push(chunk);
        if (isFirst && reader.firstByteMs > 0) {
          onFirstByte();
          if (isAborted) {
            ended.resolve("aborted");
            opened.terminate();
            return;
          }
        }
        if (isEnd) {
          ended.resolve(reader.status === 200 ? "completed" : "failed");
        }
      },
      close: () => ended.resolve("failed"),
      error: () => ended.resolve("failed"),
    },
  });
  result[await ended.promise]++;
  clearTimeout(timer);
  socket.terminate();
}

async function caller(onFirstByte: () => void): Promise<void> {
  const endMs = performance.now() + order.durationMs;
  do {
    await ask(onFirstByte).catch(() => {
      result.failed++;
    });
  } while (performance.now() < endMs);
}

const callers: Promise<void>[] = [];
for (let index = 0; index < order.callers; index++) {
  let isOpen = false;
  const onFirstByte = (): void => {
    open += isOpen ? 0 : 1;
    const hasEnded = result.completed + result.aborted + result.failed > 0;
    if (!isOpen && open === order.callers && !hasEnded) {
      process.stdout.write("open\n");
    }
    isOpen = true;
  };
  callers.push(caller(onFirstByte));
  if (index % OPENING_MAX === OPENING_MAX - 1) {
    await Bun.sleep(50);
  }
}
await Promise.all(callers);
await Bun.write(Bun.stdout, `${JSON.stringify(result)}\n`);
process.exit(0);
