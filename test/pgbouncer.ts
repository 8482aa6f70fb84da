/**
 * A real PgBouncer in transaction mode in front of a test database, with the few settings that
 * docs/operations.md asks for and no more: what Spendra needs beyond them would show here.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { chown, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { probePort } from "../src/cli/listen-port.ts";
import {
  type Account,
  findUnprivilegedAccount,
  programEnvironment,
} from "../src/operations/program.ts";
import { waitUntil } from "./wait-until.ts";

export type TestPooler = {
  /** The address that was given, through the pooler. */
  url: string;
  /** SIGKILL: all connections break, new ones are refused. */
  kill(): Promise<void>;
  /** Again, on the same port. */
  restart(): Promise<void>;
  stop(): Promise<void>;
};

/** SPENDRA_TEST_PGBOUNCER, else what is installed (Debian: apt-get install pgbouncer), if any. */
export function findPgBouncer(): string | undefined {
  const given = process.env["SPENDRA_TEST_PGBOUNCER"];
  if (given) {
    if (existsSync(given)) return given;
    throw new Error(`SPENDRA_TEST_PGBOUNCER names ${given}, which does not exist`);
  }
  const path = `${process.env["PATH"] ?? ""}:/usr/sbin:/usr/local/sbin`;
  return Bun.which("pgbouncer", { PATH: path }) ?? undefined;
}

/** `poolSize` connections to the server, however many clients there are. */
export async function startPooler(targetUrl: string, poolSize: number): Promise<TestPooler> {
  const program = findPgBouncer();
  if (program === undefined) throw new Error("there is no pgbouncer on this machine");
  const account = await findUnprivilegedAccount();
  const { port } = await probePort("127.0.0.1", 0);
  const directory = await mkdtemp(join(tmpdir(), "spendra-pgbouncer-"));
  const settings = await writeSettings(directory, account, new URL(targetUrl), port, poolSize);
  let child = await run(program, settings, account, port);
  const end = async (signal: "SIGKILL" | "SIGTERM"): Promise<void> => {
    const ended = new Promise((resolve) => child.once("exit", resolve));
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    await ended;
  };
  const url = new URL(targetUrl);
  url.port = String(port);
  return {
    url: url.href,
    kill: () => end("SIGKILL"),
    restart: async () => {
      child = await run(program, settings, account, port);
    },
    stop: async () => {
      await end("SIGKILL");
      await rm(directory, { recursive: true, force: true });
    },
  };
}

async function writeSettings(
  directory: string,
  account: Account | undefined,
  target: URL,
  port: number,
  poolSize: number,
): Promise<string> {
  const users = join(directory, "userlist.txt");
  const settings = join(directory, "pgbouncer.ini");
  await writeFile(users, `"${target.username}" "${target.password}"\n`, { mode: 0o600 });
  await writeFile(
    settings,
    `[databases]
* = host=${target.hostname} port=${target.port}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = ${users}
pool_mode = transaction
default_pool_size = ${poolSize}
server_login_retry = 1
`,
  );
  if (account) {
    for (const path of [directory, users, settings]) {
      await chown(path, account.userId, account.groupId);
    }
  }
  return settings;
}

async function run(
  program: string,
  settings: string,
  account: Account | undefined,
  port: number,
): Promise<ChildProcess> {
  const child = spawn(program, [settings], {
    cwd: "/",
    env: programEnvironment,
    stdio: ["ignore", "ignore", "pipe"],
    // It refuses to run as root.
    ...(account ? { uid: account.userId, gid: account.groupId } : {}),
  });
  let log = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    log = (log + chunk.toString()).slice(-4_000);
  });
  await waitUntil("PgBouncer listens", async () => {
    if (child.exitCode !== null) throw new Error(`PgBouncer ended:\n${log}`);
    return (await probePort("127.0.0.1", port)).state === "taken";
  });
  return child;
}
