/**
 * Runs a private PostgreSQL on loopback, for `spendra demo` and for the tests.
 *
 * Finding the programs is `postgres-binaries.ts`; the directory is `cluster-directory.ts`.
 * Production never comes here: `spendra serve` takes DATABASE_URL.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { chown, open, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { waitAtMost } from "../clock.ts";
import { type ClusterDirectory, openClusterDirectory } from "./cluster-directory.ts";
import { LocalPostgresError } from "./local-postgres-error.ts";
import {
  copyPostgresBinaries,
  findPostgresBinaries,
  type PostgresBinaries,
  postgresStarts,
} from "./postgres-binaries.ts";
import {
  type Account,
  findUnprivilegedAccount,
  programEnvironment,
  runProgram,
} from "./program.ts";

const INITDB_TIMEOUT_MS = 120_000;
const READY_TIMEOUT_MS = 60_000;
const READY_POLL_MS = 20;
const STOP_TIMEOUT_MS = 20_000;
/** Somebody may take the free port between our look and the server's start. */
const PORT_ATTEMPTS_MAX = 5;
const ROLE = "spendra";
const DATABASE = "spendra";

/** A running server. `url` holds the password and names the database `spendra`. */
export type LocalPostgres = {
  url: string;
  /** The major, 15 to 18. */
  version: number;
  dataDirectory: string;
  /** Shuts down, and removes the directory when it was temporary. Calling it again is harmless. */
  stop(): Promise<void>;
};

export type LocalPostgresOptions = {
  /** Kept between runs. Absent: a temporary one, removed when the process ends in any way. */
  dataDirectory?: string;
  /** Absent: a free one. */
  port?: number;
  /** Absent: see `findPostgresBinaries`. */
  binariesDirectory?: string;
  /** The major to run. Absent: the one that made `dataDirectory`, else the newest found. */
  version?: number;
  /** Server settings, such as `{ fsync: "off" }` in tests. */
  settings?: Record<string, string>;
};

type Cluster = {
  directory: ClusterDirectory;
  data: string;
  account: Account | undefined;
  binaries: PostgresBinaries;
};

/**
 * Finds PostgreSQL, makes a cluster when there is none, and starts it on 127.0.0.1 with password
 * authentication. Under root everything runs as an unprivileged account.
 *
 * @throws {PostgresNotFoundError} {LocalPostgresError} with the tail of the server's log.
 */
export async function startLocalPostgres(
  options: LocalPostgresOptions = {},
): Promise<LocalPostgres> {
  const account = await findUnprivilegedAccount();
  const directory = await openClusterDirectory(options.dataDirectory, account);
  const watcher = watch(directory);
  try {
    const cluster = await openCluster(directory, account, options);
    const { server, port } = await startServer(cluster, options);
    const password = await readFile(join(directory.path, "password"), "utf8");
    let stopped: Promise<void> | undefined;
    return {
      url: `postgres://${ROLE}:${password}@127.0.0.1:${port}/${DATABASE}`,
      version: cluster.binaries.version,
      dataDirectory: directory.path,
      stop: () => {
        stopped ??= stopServer(server).then(() => closeDirectory(directory, watcher));
        return stopped;
      },
    };
  } catch (error) {
    await closeDirectory(directory, watcher);
    throw error;
  }
}

async function openCluster(
  directory: ClusterDirectory,
  account: Account | undefined,
  options: LocalPostgresOptions,
): Promise<Cluster> {
  const data = join(directory.path, "data");
  const made = await readFile(join(data, "PG_VERSION"), "utf8").catch(() => undefined);
  const version = made === undefined ? options.version : parseInt(made, 10);
  const found = await findPostgresBinaries({
    ...(options.binariesDirectory ? { directory: options.binariesDirectory } : {}),
    ...(version ? { version } : {}),
  });
  const binaries = await makeReachable(found, directory, account);
  const cluster = { directory, data, account, binaries };
  if (made === undefined) await initialise(cluster);
  return cluster;
}

/** A clone below /root is closed to the lent account, and a read-only one lacks library links. */
async function makeReachable(
  found: PostgresBinaries,
  directory: ClusterDirectory,
  account: Account | undefined,
): Promise<PostgresBinaries> {
  if (await postgresStarts(found.directory, account)) return found;
  const { packageDirectory } = found;
  if (packageDirectory === undefined) {
    throw new LocalPostgresError(
      `${account?.name ?? "This account"} cannot run the programs in ${found.directory}`,
    );
  }
  return copyPostgresBinaries({ ...found, packageDirectory }, directory.path);
}

async function initialise(cluster: Cluster): Promise<void> {
  const { account, data, directory } = cluster;
  const passwordFile = join(directory.path, "password");
  const password = Buffer.from(crypto.getRandomValues(new Uint8Array(24))).toString("hex");
  await writeFile(passwordFile, password, { mode: 0o600 });
  if (account) await chown(passwordFile, account.userId, account.groupId);
  // Locale C: the only one that every machine has. Text is UTF-8 all the same.
  const initdbArguments = ["-D", data, "-U", ROLE, "--encoding=UTF8", "--no-locale"];
  initdbArguments.push("--auth=scram-sha-256", `--pwfile=${passwordFile}`, "--no-instructions");
  if (directory.isTemporary) initdbArguments.push("--no-sync");
  await mustSucceed(cluster, "initdb", initdbArguments);
  // Without a server nobody needs a client library, and no port is open yet.
  const singleUser = ["--single", "-D", data, "postgres"];
  await mustSucceed(cluster, "postgres", singleUser, `create database ${DATABASE};\n`);
}

async function mustSucceed(
  { account, binaries, data, directory }: Cluster,
  program: "initdb" | "postgres",
  programArguments: string[],
  stdin = "",
): Promise<void> {
  const outcome = await runProgram(join(binaries.directory, program), programArguments, {
    timeoutMs: INITDB_TIMEOUT_MS,
    directory: directory.path,
    stdin,
    ...(account ? { account } : {}),
  });
  // A failed initdb cleans up after itself unless it was killed; the next start must begin anew.
  if (outcome.exitCode === 0 && !/^\S* ?(FATAL|ERROR):/m.test(outcome.output)) return;
  await rm(data, { recursive: true, force: true });
  throw new LocalPostgresError(`PostgreSQL could not be initialised in ${data}`, outcome.output);
}

async function startServer(
  cluster: Cluster,
  options: LocalPostgresOptions,
): Promise<{ server: ChildProcess; port: number }> {
  for (let attempt = 1; ; attempt++) {
    const port = options.port ?? (await findFreePort());
    const server = await spawnServer(cluster, port, options.settings ?? {});
    const log = await waitUntilReady(cluster, server);
    if (log === undefined) return { server, port };
    await stopServer(server);
    const isPortTaken = /could not bind|Address already in use/i.test(log);
    if (isPortTaken && options.port === undefined && attempt < PORT_ATTEMPTS_MAX) continue;
    throw new LocalPostgresError(`PostgreSQL did not start on 127.0.0.1:${port}`, log);
  }
}

async function spawnServer(
  { account, binaries, data, directory }: Cluster,
  port: number,
  extraSettings: Record<string, string>,
): Promise<ChildProcess> {
  const settings = {
    listen_addresses: "127.0.0.1",
    port: `${port}`,
    // Socket paths have a limit of about 100 characters, and nobody here needs a socket.
    unix_socket_directories: "",
    logging_collector: "off",
    log_checkpoints: "off",
    ...extraSettings,
  };
  const settingArguments = Object.entries(settings).flatMap(([name, value]) => [
    "-c",
    `${name}=${value}`,
  ]);
  const log = await open(join(directory.path, "server.log"), "w", 0o600);
  try {
    const server = spawn(join(binaries.directory, "postgres"), ["-D", data, ...settingArguments], {
      cwd: directory.path,
      env: programEnvironment,
      stdio: ["ignore", log.fd, log.fd],
      // Ctrl-C in a terminal reaches the whole process group: our program has to drain first.
      detached: true,
      ...(account ? { uid: account.userId, gid: account.groupId } : {}),
    });
    server.on("error", () => undefined);
    server.unref();
    return server;
  } finally {
    await log.close();
  }
}

/** Undefined when ready, else the log. The server writes its state into its lock file's line 8. */
async function waitUntilReady(
  { data, directory }: Cluster,
  server: ChildProcess,
): Promise<string | undefined> {
  for (let waitedMs = 0; waitedMs < READY_TIMEOUT_MS; waitedMs += READY_POLL_MS) {
    if (server.pid === undefined || hasEnded(server)) break;
    const lock = await readFile(join(data, "postmaster.pid"), "utf8").catch(() => "");
    const lines = lock.split("\n");
    if (lines[0] === `${server.pid}` && lines[7]?.trim() === "ready") return undefined;
    await Bun.sleep(READY_POLL_MS);
  }
  return readFile(join(directory.path, "server.log"), "utf8").catch(() => "");
}

/** Fast shutdown (sessions are cut), then immediate, then by force. */
async function stopServer(server: ChildProcess): Promise<void> {
  for (const signal of ["SIGINT", "SIGQUIT", "SIGKILL"] as const) {
    if (server.pid === undefined || hasEnded(server)) return;
    const ended = new Promise<void>((resolve) => server.once("exit", () => resolve()));
    server.kill(signal);
    await waitAtMost(ended, STOP_TIMEOUT_MS);
  }
}

function hasEnded(server: ChildProcess): boolean {
  return server.exitCode !== null || server.signalCode !== null;
}

/**
 * Stops the server when this process ends without having done so, even by SIGKILL: a shell waits
 * for a line on its stdin, and the end of the pipe tells it that we are gone. It lives in its own
 * session, so that neither Ctrl-C nor a killed process group takes it along. $1 is the directory;
 * $2 is not empty when the directory is to be removed.
 */
const WATCHER_SCRIPT = `
trap '' HUP INT TERM
read -r word && exit 0
cd / || exit 1
read -r id <"$1/data/postmaster.pid" && kill -INT "$id"
n=0
while [ -f "$1/data/postmaster.pid" ] && [ $n -lt 30 ]; do sleep 1; n=$((n + 1)); done
if [ -n "$2" ]; then rm -rf "$1"; fi
`;

function watch(directory: ClusterDirectory): ChildProcess {
  const removal = directory.isTemporary ? "remove" : "";
  const watcher = spawn("/bin/sh", ["-c", WATCHER_SCRIPT, "sh", directory.path, removal], {
    env: programEnvironment,
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  watcher.on("error", () => undefined);
  watcher.stdin?.on("error", () => undefined);
  watcher.unref();
  return watcher;
}

async function closeDirectory(directory: ClusterDirectory, watcher: ChildProcess): Promise<void> {
  watcher.stdin?.end("done\n");
  if (directory.isTemporary) await rm(directory.path, { recursive: true, force: true });
}

/** A port that nobody listens on at this moment. */
function findFreePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const address = probe.address();
      const port = typeof address === "object" && address ? address.port : 0;
      probe.close(() => resolve(port));
    });
  });
}
