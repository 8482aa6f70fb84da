/**
 * The load: HTTP/1.1 over raw keep-alive connections, in a process of its own, because a client
 * library would cost more than some of the servers. Reads a `LoadOrder` as its one argument and
 * prints a `LoadResult`.
 *
 * Closed loop: each connection sends its next request when the last answer has ended. Open loop:
 * requests become due at a fixed rate, and latency counts from that instant, so that a slow server
 * cannot slow the clock that measures it.
 */

import { AnswerReader } from "./answer-reader.ts";
import { latencyOf } from "./measure.ts";

export type LoadOrder = {
  port: number;
  headers: Record<string, string>;
  body: string;
  connections: number;
  warmupMs: number;
  durationMs: number;
  /** Absent: closed loop. */
  perSecond?: number;
};

export type LoadResult = {
  perSecond: number;
  answers: number;
  /** Other statuses than 200, and broken connections. */
  failures: number;
  firstFailure: string | null;
  p50Ms: number;
  p99Ms: number;
  firstByteP50Ms: number;
  firstByteP99Ms: number;
  /** What the generator itself used of a processor, a request. */
  ownCpuMicroseconds: number;
};

const PATH = "/v1/chat/completions";
const OPEN_LOOP_TICK_MS = 1;
/** What waits in the open loop; beyond it the server is hopelessly behind. */
const DUE_MAX = 20_000;

class Load {
  readonly #order: LoadOrder;
  readonly #request: Buffer;
  readonly #latencies: number[] = [];
  readonly #firstBytes: number[] = [];
  readonly #due: number[] = [];
  readonly #idle: Connection[] = [];
  #failures = 0;
  #firstFailure: string | null = null;
  #isMeasuring = false;
  isOver = false;

  constructor(order: LoadOrder) {
    this.#order = order;
    const headers = Object.entries({
      host: `127.0.0.1:${order.port}`,
      "content-type": "application/json",
      "content-length": `${Buffer.byteLength(order.body)}`,
      ...order.headers,
    });
    const head = headers.map(([name, value]) => `${name}: ${value}\r\n`).join("");
    this.#request = Buffer.from(`POST ${PATH} HTTP/1.1\r\n${head}\r\n${order.body}`);
  }

  get request(): Buffer {
    return this.#request;
  }

  async run(): Promise<LoadResult> {
    const { connections, warmupMs, durationMs } = this.#order;
    for (let index = 0; index < connections; index++) {
      await this.connect();
    }
    const ticker = this.#order.perSecond === undefined ? null : this.#startTicking();
    await Bun.sleep(warmupMs);
    this.#isMeasuring = true;
    const startedMs = performance.now();
    const before = process.cpuUsage();
    await Bun.sleep(durationMs);
    this.#isMeasuring = false;
    const seconds = (performance.now() - startedMs) / 1000;
    const used = process.cpuUsage(before);
    this.isOver = true;
    clearInterval(ticker ?? undefined);
    return this.#result(seconds, used.user + used.system);
  }

  #result(seconds: number, usedMicroseconds: number): LoadResult {
    const answers = this.#latencies.length;
    const firstByte = latencyOf(this.#firstBytes);
    return {
      perSecond: answers / seconds,
      answers,
      failures: this.#failures,
      firstFailure: this.#firstFailure,
      ...latencyOf(this.#latencies),
      firstByteP50Ms: firstByte.p50Ms,
      firstByteP99Ms: firstByte.p99Ms,
      ownCpuMicroseconds: usedMicroseconds / answers,
    };
  }

  async connect(): Promise<void> {
    const connection = new Connection(this);
    await Bun.connect({
      hostname: "127.0.0.1",
      port: this.#order.port,
      socket: {
        open: (socket) => connection.open(socket),
        data: (_, chunk) => connection.take(chunk),
        close: () => connection.closed(),
        error: () => {},
        connectError: () => this.failed("the connection was refused"),
      },
    });
  }

  /** When the next request of a connection is due; null when it has to wait for one. */
  nextDueMs(connection: Connection): number | null {
    if (this.#order.perSecond === undefined) {
      return performance.now();
    }
    const dueMs = this.#due.shift();
    if (dueMs === undefined) {
      this.#idle.push(connection);
    }
    return dueMs ?? null;
  }

  answered(dueMs: number, firstByteMs: number, status: number, text: string): void {
    if (status !== 200) {
      this.failed(`${status} ${text}`);
      return;
    }
    if (this.#isMeasuring) {
      this.#latencies.push(performance.now() - dueMs);
      this.#firstBytes.push(firstByteMs - dueMs);
    }
  }

  failed(text: string): void {
    this.#failures++;
    this.#firstFailure ??= text.slice(0, 300);
  }

  #startTicking(): Timer {
    const perMs = (this.#order.perSecond ?? 0) / 1000;
    const startedMs = performance.now();
    let sent = 0;
    return setInterval(() => {
      const wanted = Math.floor((performance.now() - startedMs) * perMs);
      for (; sent < wanted && this.#due.length < DUE_MAX; sent++) {
        this.#due.push(startedMs + (sent + 1) / perMs);
        this.#idle.pop()?.sendNext();
      }
    }, OPEN_LOOP_TICK_MS);
  }
}

class Connection {
  readonly #load: Load;
  readonly #reader = new AnswerReader();
  #socket: Bun.Socket | null = null;
  #dueMs: number | null = null;

  constructor(load: Load) {
    this.#load = load;
  }

  open(socket: Bun.Socket): void {
    this.#socket = socket;
    this.sendNext();
  }

  sendNext(): void {
    this.#dueMs = this.#load.isOver ? null : this.#load.nextDueMs(this);
    if (this.#dueMs !== null) {
      this.#reader.begin();
      this.#socket?.write(this.#load.request);
    }
  }

  take(chunk: Buffer): void {
    if (!this.#reader.push(chunk) || this.#dueMs === null) {
      return;
    }
    const { status, firstByteMs, firstText } = this.#reader;
    this.#load.answered(this.#dueMs, firstByteMs, status, firstText);
    this.sendNext();
  }

  closed(): void {
    if (this.#load.isOver) {
      return;
    }
    if (this.#dueMs !== null) {
      this.#load.failed("the connection was closed");
    }
    this.#load.connect().catch((error: unknown) => this.#load.failed(String(error)));
  }
}

if (import.meta.main) {
  const order = JSON.parse(process.argv[2] ?? "{}") as LoadOrder;
  const result = await new Load(order).run();
  await Bun.write(Bun.stdout, JSON.stringify(result));
  process.exit(0);
}
