/**
 * A real node for tests: `spendra serve` as a process of its own, from source or as the executable
 * in an empty directory, on a migrated database in which the demo's company exists.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type DemoCompany, foundDemoCompany } from "../src/cli/demo-company.ts";
import type { Sql } from "../src/database/client.ts";
import { deriveKeyHmacKey } from "../src/keys/token.ts";
import { Secret } from "../src/secret.ts";
import { builtExecutable } from "./executable.ts";

export type NodeKind = "source" | "executable";

export type TestNode = {
  /** `http://127.0.0.1:<port>` */
  url: string;
  metricsUrl: string;
  process: Bun.Subprocess<"ignore", "pipe", "pipe">;
  /** Every line that the node has logged so far. */
  lines: string[];
  /** Resolves with the first logged event of this name, also one of the past. */
  logged(event: string): Promise<Record<string, unknown>>;
  /** SIGTERM; answers the exit code. */
  stop(): Promise<number>;
};

export const ENCRYPTION_KEY = "an encryption key for tests, longer than 32 bytes";
export const METRICS_TOKEN = "a metrics token for tests, longer than 32 bytes";
export const PROVIDER_KEY = "sk-provider-canary-0123456789abcdef";
export const ADMIN = { email: "admin@acme.example", password: "correct horse battery staple" };

const START_TIMEOUT_MS = 20_000;
const root = join(import.meta.dir, "..");

/** The demo's company in a fresh database. `baseUrl` is where OpenAI is played, with `/v1`. */
export async function foundCompany(
  sql: Sql,
  baseUrl: string,
  options: { organizationCapUsd?: string; teamCapUsd?: string; adminEmail?: string } = {},
): Promise<DemoCompany> {
  const { adminEmail, ...caps } = options;
  return await foundDemoCompany(sql, {
    openAiBaseUrl: baseUrl,
    hmacKey: deriveKeyHmacKey(new Secret(ENCRYPTION_KEY)),
    admin: { ...ADMIN, email: adminEmail ?? ADMIN.email },
    now: new Date(),
    ...caps,
  });
}

/** What a node needs in its environment, and nothing of this process's own. */
export function nodeEnvironment(databaseUrl: string, stateDirectory: string) {
  return {
    PATH: process.env["PATH"] ?? "",
    DATABASE_URL: databaseUrl,
    SPENDRA_ENCRYPTION_KEY: ENCRYPTION_KEY,
    SPENDRA_METRICS_BEARER_TOKEN: METRICS_TOKEN,
    SPENDRA_LISTEN: "127.0.0.1:0",
    SPENDRA_METRICS_LISTEN: "127.0.0.1:0",
    SPENDRA_STATE_DIR: stateDirectory,
    OPENAI_API_KEY: PROVIDER_KEY,
    // Tests ask faster than people; the limit itself has its own.
    SPENDRA_MANAGEMENT_REQUESTS_PER_MINUTE: "100000",
  };
}

/** The words that run a command of Spendra. */
export async function spendraCommand(kind: NodeKind): Promise<string[]> {
  return kind === "source"
    ? [process.execPath, join(root, "src", "main.ts")]
    : [await builtExecutable()];
}

/** Starts a node and waits until it serves. Throws with its output when it does not. */
export async function startNode(
  databaseUrl: string,
  options: { kind?: NodeKind; environment?: Record<string, string> } = {},
): Promise<TestNode> {
  const directory = await mkdtemp(join(tmpdir(), "spendra-node-"));
  const child = Bun.spawn([...(await spendraCommand(options.kind ?? "source")), "serve"], {
    cwd: directory,
    env: { ...nodeEnvironment(databaseUrl, join(directory, "state")), ...options.environment },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const output = readLines(child.stdout);
  const errors = new Response(child.stderr).text();
  const exited = child.exited.then(async (code): Promise<never> => {
    throw new Error(`the node ended with ${code}:\n${await errors}\n${output.lines.join("\n")}`);
  });
  const timer = setTimeout(() => child.kill("SIGKILL"), START_TIMEOUT_MS);
  const started = await Promise.race([output.logged("node.started"), exited]);
  clearTimeout(timer);
  exited.catch(() => {});
  return {
    url: String(started["address"]),
    metricsUrl: String(started["metricsAddress"]),
    process: child,
    lines: output.lines,
    logged: output.logged,
    stop: async () => {
      child.kill("SIGTERM");
      const code = await child.exited;
      await rm(directory, { recursive: true, force: true });
      return code;
    },
  };
}

/** Runs a command to its end. */
export async function runSpendra(
  args: readonly string[],
  options: { kind?: NodeKind; environment?: Record<string, string>; cwd?: string } = {},
): Promise<{ code: number; stdout: string; stderr: string }> {
  const child = Bun.spawn([...(await spendraCommand(options.kind ?? "source")), ...args], {
    cwd: options.cwd ?? tmpdir(),
    env: { PATH: process.env["PATH"] ?? "", ...options.environment },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [code, stdout, stderr] = await Promise.all([
    child.exited,
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  return { code, stdout, stderr };
}

function readLines(stream: ReadableStream<Uint8Array>) {
  const lines: string[] = [];
  const waiting: { event: string; resolve: (line: Record<string, unknown>) => void }[] = [];
  const take = (line: string): void => {
    lines.push(line);
    const parsed = parseLine(line);
    for (const { event, resolve } of waiting) {
      if (parsed?.["event"] === event) {
        resolve(parsed);
      }
    }
  };
  pump(stream, take).catch(() => {});
  return {
    lines,
    logged: (event: string): Promise<Record<string, unknown>> =>
      new Promise((resolve) => {
        const past = lines.map(parseLine).find((line) => line?.["event"] === event);
        if (past) {
          resolve(past);
        } else {
          waiting.push({ event, resolve });
        }
      }),
  };
}

async function pump(
  stream: ReadableStream<Uint8Array>,
  take: (line: string) => void,
): Promise<void> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = parts.pop() ?? "";
    parts.forEach(take);
  }
}

function parseLine(line: string): Record<string, unknown> | null {
  try {
    return JSON.parse(line) as Record<string, unknown>;
  } catch {
    return null;
  }
}
