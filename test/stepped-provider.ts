/**
 * A provider that a test leads by the hand: every call waits until the test says what is sent next,
 * and the provider notes when its caller closes the connection. Plain TCP, so that an answer can
 * also end as networks end it.
 */
import { createServer, type Socket } from "node:net";

export type SteppedCall = {
  /** Sends the head of a stream. */
  begin(): void;
  /** Sends one event of a stream. */
  send(data: string): void;
  /** Gives the node time to notice what happened, then sends events one by one. */
  trickle(events: readonly string[]): Promise<void>;
  /** The same with one last event that no empty line ends, and the end. */
  trickleRest(data: string): Promise<void>;
  /** Sends the same event until the caller closes the connection. */
  sendEndlessly(data: string): Promise<void>;
  /** Ends the stream as it should be ended. */
  end(): void;
  /** Answers in one piece, in two parts that are as far apart. */
  answerWhole(body: string): Promise<void>;
  /** Closes the connection in the middle of the answer; what was sent still arrives. */
  breakOff(): void;
  /** Breaks the connection; what was sent and not read yet is lost. */
  reset(): void;
  /** Resolves when the connection is closed. */
  closed: Promise<void>;
  isClosed(): boolean;
};

export type SteppedProvider = {
  /** With `/v1`. */
  baseUrl: string;
  /** The next call that arrives, or has arrived and was not asked for yet. */
  nextCall(): Promise<SteppedCall>;
  stop(): Promise<void>;
};

export const DONE = "[DONE]";
/** In which a node notices that its caller has gone, and reads what has arrived. */
const NOTICE_MS = 200;
const INTERVAL_MS = 5;

/** One event's data with so much text; `fields` are added to the chunk. */
export function textChunk(content: string, fields: object = {}): string {
  const choices = [{ index: 0, delta: { content }, finish_reason: null }];
  return JSON.stringify({
    id: "chatcmpl-1",
    object: "chat.completion.chunk",
    choices,
    usage: null,
    ...fields,
  });
}

export async function stepProvider(): Promise<SteppedProvider> {
  const arrived: SteppedCall[] = [];
  const waiting: ((call: SteppedCall) => void)[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    // What breaks is told by `closed`.
    socket.on("error", () => socket.destroy());
    let request = "";
    let hasArrived = false;
    socket.on("data", (bytes) => {
      request += bytes.toString("latin1");
      if (hasArrived || !isWhole(request)) return;
      hasArrived = true;
      const call = stepCall(socket);
      const waiter = waiting.shift();
      if (waiter) waiter(call);
      else arrived.push(call);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return {
    baseUrl: `http://127.0.0.1:${port}/v1`,
    nextCall: () =>
      new Promise((resolve) => {
        const call = arrived.shift();
        if (call) resolve(call);
        else waiting.push(resolve);
      }),
    stop: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
}

function isWhole(request: string): boolean {
  const headEnd = request.indexOf("\r\n\r\n");
  const length = Number(/content-length: *(\d+)/i.exec(request)?.[1] ?? 0);
  return headEnd >= 0 && request.length >= headEnd + 4 + length;
}

function stepCall(socket: Socket): SteppedCall {
  const closing = Promise.withResolvers<void>();
  let isClosed = false;
  let hasHead = false;
  socket.on("close", () => {
    isClosed = true;
    closing.resolve();
  });
  const write = (bytes: string): void => {
    if (!hasHead) {
      hasHead = true;
      socket.write("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n");
      socket.write("transfer-encoding: chunked\r\n\r\n");
    }
    if (bytes !== "") {
      socket.write(`${Buffer.byteLength(bytes).toString(16)}\r\n${bytes}\r\n`);
    }
  };
  const send = (data: string): void => write(`data: ${data}\n\n`);
  return {
    begin: () => write(""),
    send,
    trickle: async (events) => {
      await Bun.sleep(NOTICE_MS);
      for (const data of events) {
        send(data);
        await Bun.sleep(INTERVAL_MS);
      }
    },
    trickleRest: async (data) => {
      await Bun.sleep(NOTICE_MS);
      write(`data: ${data}`);
      socket.end("0\r\n\r\n");
    },
    sendEndlessly: async (data) => {
      while (!isClosed) {
        send(data);
        await Bun.sleep(INTERVAL_MS);
      }
    },
    end: () => {
      write("");
      socket.end("0\r\n\r\n");
    },
    answerWhole: async (body) => {
      const head = `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}`;
      socket.write(`HTTP/1.1 200 OK\r\n${head}\r\nconnection: close\r\n\r\n`);
      const half = Math.floor(body.length / 2);
      socket.write(body.slice(0, half));
      await Bun.sleep(NOTICE_MS);
      socket.end(body.slice(half));
    },
    breakOff: () => socket.end(),
    reset: () => socket.resetAndDestroy(),
    closed: closing.promise,
    isClosed: () => isClosed,
  };
}
