/**
 * What the bench measures against: one PostgreSQL with its default settings (fsync on), a database
 * a part, and every program in a process of its own. All of it is stopped by `stopAll`.
 */
import { readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type DemoCompany, foundDemoCompany } from "../../src/cli/demo-company.ts";
import { sleep, waitAtMost } from "../../src/clock.ts";
import { connect, type Sql } from "../../src/database/client.ts";
import { requireCurrentSchema } from "../../src/database/schema-check.ts";
import { deriveKeyHmacKey } from "../../src/keys/token.ts";
import { type LocalPostgres, startLocalPostgres } from "../../src/operations/local-postgres.ts";
import { Secret } from "../../src/secret.ts";
import { ADMIN, ENCRYPTION_KEY, nodeEnvironment } from "../node.ts";

export type Program = {
  readonly name: string;
  /** `http://127.0.0.1:<port>` */
  readonly url: string;
  readonly processId: number;
  stop(): Promise<void>;
};

export type BenchDatabase = { readonly url: string; readonly sql: Sql };

const CONNECTIONS_MAX = 4;
/** A budget that no run can use up. */
const CAP_USD = "1000000000";
const READY_POLL_MS = 50;
const READY_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 20_000;
export const root = join(import.meta.dir, "..", "..");

const closers: (() => Promise<void>)[] = [];

/** Stops what is still running, the newest first. */
export async function stopAll(): Promise<void> {
  for (const close of closers.splice(0).reverse()) {
    await close().catch((error: unknown) => console.error("could not stop:", error));
  }
}

export async function startPostgres(): Promise<LocalPostgres> {
  const server = await startLocalPostgres({ version: 18 });
  closers.push(() => server.stop());
  return server;
}

export async function postmasterId(server: LocalPostgres): Promise<number> {
  const file = join(server.dataDirectory, "data", "postmaster.pid");
  return Number((await readFile(file, "utf8")).split("\n")[0]);
}

/** An empty database with the schema that the measured node brings. */
export async function openDatabase(
  server: LocalPostgres,
  name: string,
  spendra: readonly string[],
): Promise<BenchDatabase> {
  const administration = connect(server.url, {
    connectionsMax: 1,
    applicationName: "bench administration",
  });
  await administration`create database ${administration(name)}`;
  await administration.end();
  const url = new URL(server.url);
  url.pathname = `/${name}`;
  const environment = nodeEnvironment(url.href, tmpdir());
  const migration = Bun.spawn([...spendra, "migrate"], {
    env: environment,
    stdout: "ignore",
    stderr: "inherit",
  });
  if ((await migration.exited) !== 0) {
    throw new Error("the measured node could not migrate its database");
  }
  const sql = connect(url.href, { connectionsMax: CONNECTIONS_MAX, applicationName: "bench" });
  closers.push(() => sql.end({ timeout: 5 }));
  await requireCurrentSchema(sql).catch((cause: unknown) => {
    throw new Error("dist/spendra is older than the source: build it anew, or give --source", {
      cause,
    });
  });
  return { url: url.href, sql };
}

export async function foundCompany(sql: Sql, openAiBaseUrl: string): Promise<DemoCompany> {
  return await foundDemoCompany(sql, {
    openAiBaseUrl,
    hmacKey: deriveKeyHmacKey(new Secret(ENCRYPTION_KEY)),
    admin: ADMIN,
    now: new Date(),
    organizationCapUsd: CAP_USD,
    teamCapUsd: CAP_USD,
  });
}

/** The words that run the measured node: the executable when it was built, else the source. */
export async function nodeCommand(options: { isSource: boolean }): Promise<readonly string[]> {
  const executable = join(root, "dist", "spendra");
  return !options.isSource && (await Bun.file(executable).exists())
    ? [executable]
    : [process.execPath, join(root, "src", "main.ts")];
}

/** `spendra serve`; its log goes to a file, as a service's does. */
export async function startSpendra(
  spendra: readonly string[],
  databaseUrl: string,
): Promise<Program> {
  const port = await freePort();
  const directory = join(tmpdir(), `spendra-bench-node-${port}`);
  const environment = {
    ...nodeEnvironment(databaseUrl, join(directory, "state")),
    SPENDRA_LISTEN: `127.0.0.1:${port}`,
  };
  return await startProgram("Spendra", [...spendra, "serve"], {
    port,
    environment,
    readyPath: "/health/ready",
    directory,
  });
}

/** A program of the bench's own: a file beside this one. */
export async function startOwn(
  name: string,
  file: string,
  args: readonly string[],
): Promise<Program> {
  const port = await freePort();
  return await startProgram(
    name,
    [process.execPath, join(import.meta.dir, file), `${port}`, ...args],
    { port },
  );
}

/** Starts a program and waits until it answers HTTP on its port with any status but 503. */
export async function startProgram(
  name: string,
  command: readonly string[],
  options: {
    port: number;
    environment?: Record<string, string>;
    readyPath?: string;
    /** Removed when the program has stopped. */
    directory?: string;
    workingDirectory?: string;
  },
): Promise<Program> {
  const logPath = join(tmpdir(), `spendra-bench-${options.port}.log`);
  const child = Bun.spawn([...command], {
    cwd: options.workingDirectory ?? tmpdir(),
    env: options.environment ?? { PATH: process.env["PATH"] ?? "", HOME: tmpdir() },
    stdin: "ignore",
    stdout: Bun.file(logPath),
    stderr: Bun.file(logPath),
  });
  const stop = async (): Promise<void> => {
    child.kill("SIGTERM");
    await waitAtMost(child.exited, STOP_TIMEOUT_MS);
    child.kill("SIGKILL");
    await rm(logPath, { force: true });
    if (options.directory !== undefined) {
      await rm(options.directory, { recursive: true, force: true });
    }
  };
  closers.push(stop);
  const url = `http://127.0.0.1:${options.port}`;
  for (let waitedMs = 0; waitedMs < READY_TIMEOUT_MS; waitedMs += READY_POLL_MS) {
    if (child.exitCode !== null) {
      break;
    }
    const answer = await fetch(url + (options.readyPath ?? "/")).catch(() => null);
    if (answer !== null && answer.status !== 503) {
      return { name, url, processId: child.pid, stop };
    }
    await sleep(READY_POLL_MS);
  }
  throw new Error(`${name} did not start:\n${(await Bun.file(logPath).text()).slice(-2_000)}`);
}

/** A port that nobody listens on at this moment. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === "object" && address ? address.port : 0));
    });
  });
}
