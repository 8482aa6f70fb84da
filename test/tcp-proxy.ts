/**
 * Stands between a node and PostgreSQL and fails as networks do: `cut` is a server that is gone
 * (connections break, new ones are refused), `stall` is one that hangs (connections stay, new ones
 * are taken, nothing comes through), `mute` is one whose answers get lost. `restore` ends them.
 * `delay` is one that is far away, or busy.
 */
import { createServer, type Server, type Socket, connect as tcpConnect } from "node:net";

export type TcpProxy = {
  /** The address that was given, through the proxy. */
  url: string;
  cut(): Promise<void>;
  stall(): void;
  /** What is sent arrives, and no answer comes back. */
  mute(): void;
  /** From now on an answer takes this much longer; 0 ends it. */
  delay(ms: number): void;
  /** What was stalled comes through now, in order; what was cut has to connect again. */
  restore(): Promise<void>;
  stop(): Promise<void>;
};

type Pair = { near: Socket; far: Socket | null };

/** Listens on a free port of its own in front of the server that a postgres address names. */
export async function openTcpProxy(targetUrl: string): Promise<TcpProxy> {
  const target = new URL(targetUrl);
  const pairs = new Set<Pair>();
  let isStalled = false;
  let delayMs = 0;
  const answer: Answer = (near, bytes) => {
    // Timers of one length end in the order in which they began.
    if (delayMs > 0) setTimeout(() => near.write(bytes), delayMs);
    else near.write(bytes);
  };
  const accept = (near: Socket): void => {
    const pair: Pair = { near, far: null };
    pairs.add(pair);
    near.on("error", () => near.destroy());
    near.on("close", () => {
      pair.far?.destroy();
      pairs.delete(pair);
    });
    if (isStalled) near.pause();
    else join(pair, target, answer);
  };
  let server = await listen(0, accept);
  const port = portOf(server);
  const url = new URL(targetUrl);
  url.hostname = "127.0.0.1";
  url.port = String(port);
  const cut = async (): Promise<void> => {
    const closed = close(server);
    for (const { near } of pairs) near.destroy();
    await closed;
  };
  return {
    url: url.href,
    cut,
    stall: () => {
      isStalled = true;
      for (const { near, far } of pairs) {
        near.pause();
        far?.pause();
      }
    },
    mute: () => {
      for (const { far } of pairs) far?.pause();
    },
    delay: (ms) => {
      delayMs = ms;
    },
    restore: async () => {
      isStalled = false;
      if (!server.listening) server = await listen(port, accept);
      for (const pair of pairs) {
        if (pair.far === null) join(pair, target, answer);
        pair.near.resume();
        pair.far?.resume();
      }
    },
    stop: cut,
  };
}

type Answer = (near: Socket, bytes: Buffer | string) => void;

function join(pair: Pair, target: URL, answer: Answer): void {
  const far = tcpConnect(Number(target.port), target.hostname);
  pair.far = far;
  far.on("data", (bytes) => answer(pair.near, bytes));
  pair.near.on("data", (bytes) => far.write(bytes));
  far.on("error", () => pair.near.destroy());
  far.on("close", () => pair.near.destroy());
}

function listen(port: number, accept: (socket: Socket) => void): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer(accept);
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => resolve(server));
  });
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}

function portOf(server: Server): number {
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}
