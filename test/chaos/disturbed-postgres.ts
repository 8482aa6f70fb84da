/**
 * A PostgreSQL of our own, with fsync, that can be stopped, crashed, frozen and started again at
 * the same address.
 */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type LocalPostgres, startLocalPostgres } from "../../src/operations/local-postgres.ts";
import { waitUntil } from "../wait-until.ts";

const STOP_TIMEOUT_MS = 20_000;

export class DisturbedPostgres {
  readonly #directory: string;
  readonly url: string;
  #server: LocalPostgres | null;
  #frozen: number[] = [];
  /** Of all its lives. */
  deadlocks = 0;

  private constructor(directory: string, server: LocalPostgres) {
    this.#directory = directory;
    this.#server = server;
    this.url = server.url;
  }

  static async start(): Promise<DisturbedPostgres> {
    const directory = await mkdtemp(join(tmpdir(), "spendra-chaos-postgres-"));
    return new DisturbedPostgres(directory, await startLocalPostgres({ dataDirectory: directory }));
  }

  /** `fast` ends sessions and writes everything down; `immediate` is a crash with recovery. */
  async stop(how: "fast" | "immediate"): Promise<void> {
    const server = this.#server;
    if (server === null) return;
    this.#server = null;
    const processId = await this.#processId();
    if (how === "immediate" && processId !== null) {
      process.kill(processId, "SIGQUIT");
      await waitUntil("PostgreSQL is gone", () => !isAlive(processId), STOP_TIMEOUT_MS);
    }
    await server.stop();
    await this.#countDeadlocks();
  }

  /** Starts it again where it was. */
  async restart(): Promise<void> {
    if (this.#server !== null) return;
    const { port } = new URL(this.url);
    this.#server = await startLocalPostgres({
      dataDirectory: this.#directory,
      port: Number(port),
    });
  }

  /** Every process of it stops where it is; connections stay and new ones are not answered. */
  async freeze(): Promise<void> {
    const processId = await this.#processId();
    if (processId === null) return;
    signal([processId], "SIGSTOP");
    const children = await childrenOf(processId);
    signal(children, "SIGSTOP");
    this.#frozen = [processId, ...children];
  }

  thaw(): void {
    // In random order of running from here on: which session is first is the kernel's choice.
    signal(this.#frozen, "SIGCONT");
    this.#frozen = [];
  }

  async heal(): Promise<void> {
    this.thaw();
    await this.restart();
  }

  async remove(): Promise<void> {
    this.thaw();
    await this.stop("fast");
    await rm(this.#directory, { recursive: true, force: true });
  }

  async #processId(): Promise<number | null> {
    const path = join(this.#directory, "data", "postmaster.pid");
    const [first] = (await readFile(path, "utf8").catch(() => "")).split("\n");
    return Number(first) > 0 ? Number(first) : null;
  }

  /** Each start begins a new log. */
  async #countDeadlocks(): Promise<void> {
    const log = await readFile(join(this.#directory, "server.log"), "utf8").catch(() => "");
    this.deadlocks += log.split("deadlock detected").length - 1;
  }
}

async function childrenOf(processId: number): Promise<number[]> {
  const child = Bun.spawn(["pgrep", "-P", `${processId}`], { stdout: "pipe" });
  const text = await new Response(child.stdout).text();
  return text.split("\n").map(Number).filter(Boolean);
}

function signal(processIds: readonly number[], name: NodeJS.Signals): void {
  for (const processId of processIds) {
    try {
      process.kill(processId, name);
    } catch {
      // It ended in the meantime.
    }
  }
}

function isAlive(processId: number): boolean {
  try {
    process.kill(processId, 0);
    return true;
  } catch {
    return false;
  }
}
