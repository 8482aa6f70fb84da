/**
 * A node as an init system keeps it: `spendra serve` on one state directory, started anew whenever
 * it ends, for whatever reason.
 */
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { nodeEnvironment, spendraCommand } from "../node.ts";

const RESTART_DELAY_MS = 200;
const KEPT_LINES_MAX = 400;

export class SupervisedNode {
  readonly stateDirectory: string;
  readonly #databaseUrl: string;
  #child: Bun.Subprocess<"ignore", "pipe", "pipe"> | null = null;
  #url: string | null = null;
  #isWanted = true;
  #isHeldDown = false;
  #running: Promise<void> | null = null;
  /** How often it was started, and the last of what it said. */
  starts = 0;
  readonly lines: string[] = [];
  /** What is not a line of its log: the program's last words. */
  readonly strange: string[] = [];
  readonly events = new Map<string, number>();

  constructor(databaseUrl: string, stateDirectory: string) {
    this.#databaseUrl = databaseUrl;
    this.stateDirectory = stateDirectory;
  }

  /** Where it serves; null while it does not. */
  get url(): string | null {
    return this.#url;
  }

  start(): void {
    this.#running = this.#supervise();
  }

  /** SIGKILL: nothing is written down any more. The supervisor starts it anew. */
  kill(): void {
    this.#url = null;
    this.#child?.kill("SIGKILL");
  }

  /** SIGKILL, and it stays down until `letUp`. */
  holdDown(): void {
    this.#isHeldDown = true;
    this.kill();
  }

  letUp(): void {
    this.#isHeldDown = false;
  }

  /** SIGSTOP and SIGCONT: a process that gets no time. */
  freeze(): void {
    this.#child?.kill("SIGSTOP");
  }

  thaw(): void {
    this.#child?.kill("SIGCONT");
  }

  /** SIGTERM, for good. */
  async stop(): Promise<void> {
    this.#isWanted = false;
    this.#child?.kill("SIGTERM");
    await this.#running;
  }

  /** Bytes in its spool; dead letters count as well, because nobody will book them. */
  async keptBytes(): Promise<{ spool: number; deadLetters: number }> {
    const sizeOf = (name: string) =>
      stat(join(this.stateDirectory, name)).then(
        ({ size }) => size,
        () => 0,
      );
    return {
      spool: await sizeOf("settlements.spool"),
      deadLetters: await sizeOf("dead-letters.spool"),
    };
  }

  async readDeadLetters(): Promise<string> {
    const path = join(this.stateDirectory, "dead-letters.spool");
    return await readFile(path, "latin1").catch(() => "");
  }

  async #supervise(): Promise<void> {
    const command = await spendraCommand("source");
    while (this.#isWanted) {
      this.starts++;
      const child = Bun.spawn([...command, "serve"], {
        cwd: this.stateDirectory,
        env: nodeEnvironment(this.#databaseUrl, this.stateDirectory),
        stdio: ["ignore", "pipe", "pipe"],
      });
      this.#child = child;
      await Promise.all([this.#listen(child.stdout), this.#listen(child.stderr), child.exited]);
      this.#url = null;
      do await Bun.sleep(RESTART_DELAY_MS);
      while (this.#isHeldDown && this.#isWanted);
    }
  }

  async #listen(stream: ReadableStream<Uint8Array>): Promise<void> {
    for await (const line of createInterface({ input: Readable.from(stream) })) {
      const entry = parse(line);
      if (entry?.event === "node.started") this.#url = entry.address ?? null;
      if (entry?.event === "gateway.request") continue;
      const name = entry?.event ?? "not json";
      if (entry === null) this.strange.push(line);
      this.events.set(name, (this.events.get(name) ?? 0) + 1);
      this.lines.push(line);
      if (this.lines.length > KEPT_LINES_MAX) this.lines.shift();
    }
  }
}

function parse(line: string): { event?: string; address?: string } | null {
  try {
    return JSON.parse(line) as { event?: string; address?: string };
  } catch {
    return null;
  }
}
