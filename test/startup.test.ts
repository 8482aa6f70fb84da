/**
 * A node that cannot do its work says so at once, in one message that names what to mend, and ends;
 * and the commands around it keep to their exit codes. Source and executable alike.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import packageJson from "../package.json" with { type: "json" };
import { migrationFiles } from "../src/database/migration-files.ts";
import {
  ENCRYPTION_KEY,
  METRICS_TOKEN,
  type NodeKind,
  nodeEnvironment,
  PROVIDER_KEY,
  runSpendra,
  startNode,
} from "./node.ts";
import { emptyDatabase, type TestDatabase, testDatabase } from "./postgres.ts";

type Outcome = { code: number; stdout: string; stderr: string };

const END_MAX_MS = 10_000;
const MESSAGE_LINES_MAX = 12;
const COMMANDS = ["serve", "migrate", "demo", "doctor", "version"];

let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "spendra-startup-"));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

describe.each<NodeKind>(["source", "executable"])("serve from the %s", (kind) => {
  let database: TestDatabase;

  beforeAll(async () => {
    database = await testDatabase();
  }, 60_000);
  afterAll(() => database.drop());

  test("refuses without DATABASE_URL and says what it looks like", async () => {
    const outcome = await serve({ DATABASE_URL: "" });
    expectRefusal(outcome, "DATABASE_URL is missing", "postgres://user:password@host:5432/");
  });

  test("names every mistake of the configuration at once, and no secret", async () => {
    const outcome = await serve({
      DATABASE_URL: "mysql://user:hunter2hunter2@host/database",
      SPENDRA_ENCRYPTION_KEY: "too short a key",
      SPENDRA_METRICS_BEARER_TOKEN: "changeme",
      SPENDRA_LISTEN: "127.0.0.1:99999",
      SPENDRA_METRICS_LISTEN: "nowhere",
      SPENDRA_PUBLIC_URL: "ftp://example.com",
      SPENDRA_LOG_LEVEL: "loud",
      SPENDRA_DRAIN_SECONDS: "-1",
      SPENDRA_LISTENN: "127.0.0.1:0",
      OPENAI_API_KEY_FILE: "/nonexistent/key",
    });
    const names = ["DATABASE_URL", "SPENDRA_ENCRYPTION_KEY", "SPENDRA_METRICS_BEARER_TOKEN"];
    names.push("SPENDRA_LISTEN", "SPENDRA_METRICS_LISTEN", "SPENDRA_PUBLIC_URL");
    names.push("SPENDRA_LOG_LEVEL", "SPENDRA_DRAIN_SECONDS", "SPENDRA_LISTENN", "OPENAI_API_KEY");
    expectRefusal(outcome, ...names);
    expect(outcome.stderr).not.toContain("hunter2");
    expect(outcome.stderr).not.toContain("too short a key");
  });

  test("refuses an empty database and says to migrate it", async () => {
    const empty = await emptyDatabase();
    expectRefusal(await serve({ DATABASE_URL: empty.url }), "behind this build", "spendra migrate");
    await empty.drop();
  });

  test("refuses a database that lacks the last migration, and one of a newer build", async () => {
    const other = await testDatabase();
    const last = migrationFiles.at(-1)?.name ?? "";
    await other.sql`create table kept as select * from schema_migrations where name = ${last}`;
    await other.sql`delete from schema_migrations where name = ${last}`;
    expectRefusal(await serve({ DATABASE_URL: other.url }), last, "spendra migrate");
    await other.sql`insert into schema_migrations table kept`;
    await other.sql`insert into schema_migrations values ('9999_future.sql', 'x', now())`;
    expectRefusal(await serve({ DATABASE_URL: other.url }), "9999_future.sql", "newer spendra");
    await other.drop();
  });

  test("refuses another encryption key than the one the database was set up with", async () => {
    await expectServing();
    const other = "another encryption key, and that is longer than 32 bytes too";
    const outcome = await serve({ SPENDRA_ENCRYPTION_KEY: other });
    expectRefusal(outcome, "SPENDRA_ENCRYPTION_KEY", "original key");
    expect(outcome.stderr).not.toContain(other);
    await expectServing();
  });

  test.each(["SPENDRA_LISTEN", "SPENDRA_METRICS_LISTEN"])(
    "refuses when the address of %s is taken",
    async (name) => {
      const { server, address } = await occupyPort();
      expectRefusal(await serve({ [name]: address }), "taken", name);
      await new Promise((resolve) => {
        server.close(resolve);
      });
      await expectServing({ [name]: address });
    },
  );

  test("refuses an address that this machine does not have", async () => {
    const outcome = await serve({ SPENDRA_LISTEN: "192.0.2.1:8080" });
    expectRefusal(outcome, "SPENDRA_LISTEN");
  });

  test("refuses a state directory that is a file, or below one", async () => {
    const file = join(directory, `file-${kind}`);
    await writeFile(file, "");
    for (const path of [file, join(file, "state"), "/proc/state"]) {
      const outcome = await serve({ SPENDRA_STATE_DIR: path });
      expectRefusal(outcome, "SPENDRA_STATE_DIR", path);
    }
  });

  test("refuses a state directory in which another node works", async () => {
    const state = join(directory, `shared-${kind}`);
    const node = await startNode(database.url, {
      kind,
      environment: { SPENDRA_STATE_DIR: state },
    });
    expectRefusal(await serve({ SPENDRA_STATE_DIR: state }), "SPENDRA_STATE_DIR", "in use");
    expect(await node.stop()).toBe(0);
  });

  test("refuses a database that is not there, or knows no such user or name", async () => {
    const url = new URL(database.url);
    const { server, address } = await occupyPort();
    await new Promise((resolve) => {
      server.close(resolve);
    });
    const gone = new URL(url);
    gone.host = address;
    expectRefusal(await serve({ DATABASE_URL: gone.href }), "ECONNREFUSED", "start PostgreSQL");
    const stranger = new URL(url);
    stranger.password = "hunter2hunter2";
    expectRefusal(await serve({ DATABASE_URL: stranger.href }), "User or password is wrong");
    const nameless = new URL(url);
    nameless.pathname = "/no_such_database";
    expectRefusal(await serve({ DATABASE_URL: nameless.href }), "no_such_database", "createdb");
  });

  test("takes no flag and no argument: exit code 2", async () => {
    for (const argument of ["--port=80", "extra", "-x"]) {
      const outcome = await runSpendra(["serve", argument], { kind });
      expect(outcome.code).toBe(2);
      expect(outcome.stderr).toContain("--help");
      expectPlainText(outcome);
    }
  });

  async function serve(environment: Record<string, string>): Promise<Outcome> {
    const startedMs = performance.now();
    const outcome = await runSpendra(["serve"], {
      kind,
      environment: {
        ...nodeEnvironment(database.url, join(directory, `state-${kind}`)),
        ...environment,
      },
    });
    expect(performance.now() - startedMs).toBeLessThan(END_MAX_MS);
    return outcome;
  }

  async function expectServing(environment: Record<string, string> = {}): Promise<void> {
    const node = await startNode(database.url, { kind, environment });
    expect((await fetch(`${node.url}/ready`)).status).toBe(200);
    expect(await node.stop()).toBe(0);
  }
});

describe.each<NodeKind>(["source", "executable"])("migrate from the %s", (kind) => {
  test("plans, verifies and applies, and each time says what it did", async () => {
    const empty = await emptyDatabase();
    const names = migrationFiles.map(({ name }) => name);
    const migrate = (...flags: string[]) =>
      runSpendra(["migrate", ...flags], { kind, environment: { DATABASE_URL: empty.url } });

    const planned = await migrate("--plan", "--json");
    expect(planned.code).toBe(0);
    expect(oneLine(planned)).toEqual({ applied: [], pending: names });
    expect((await migrate("--plan")).stdout).toContain(`pending ${names[0]}`);
    expect((await migrate("--verify")).code).toBe(1);
    expect(await empty.sql`select to_regclass('organizations') as found`).toEqual([
      { found: null },
    ] as never);

    const applied = await migrate();
    expect(applied.code).toBe(0);
    expect(applied.stderr).toBe("");
    for (const name of names) {
      expect(applied.stdout).toContain(`applied ${name}`);
    }
    expect((await migrate("--verify")).code).toBe(0);
    const again = await migrate("--json");
    expect(oneLine(again)).toEqual({ applied: names, pending: [] });
    await empty.drop();
  }, 60_000);

  test("refuses --plan with --verify, and what it does not know: exit code 2", async () => {
    for (const flags of [["--plan", "--verify"], ["--planned"], ["now"]]) {
      const outcome = await runSpendra(["migrate", ...flags], { kind });
      expect(outcome.code).toBe(2);
      expect(outcome.stdout).toBe("");
      expectPlainText(outcome);
    }
  });

  test("refuses without DATABASE_URL: exit code 1", async () => {
    expectRefusal(await runSpendra(["migrate"], { kind }), "DATABASE_URL is missing");
  });
});

describe.each<NodeKind>(["source", "executable"])("the command line of the %s", (kind) => {
  test("says its version, to people and to scripts", async () => {
    const plain = await runSpendra(["version"], { kind });
    expect(plain.code).toBe(0);
    expect(plain.stdout).toMatch(/^spendra \d+\.\d+\.\d+\S* \(commit \S+, Bun [\d.]+\)\n$/);
    const facts = oneLine(await runSpendra(["version", "--json"], { kind }));
    expect(facts).toMatchObject({ version: packageJson.version, bun: Bun.version });
    expect(Object.keys(facts)).toEqual(["version", "commit", "bun"]);
    expect((await runSpendra(["--version"], { kind })).stdout).toBe(plain.stdout);
  });

  test.each(COMMANDS)("explains %s with --help and -h, needing nothing", async (command) => {
    for (const flag of ["--help", "-h"]) {
      const outcome = await runSpendra([command, flag], { kind });
      expect(outcome.code).toBe(0);
      expect(outcome.stdout).toStartWith(`usage: spendra ${command}`);
      expect(outcome.stderr).toBe("");
    }
  });

  test("lists all commands with --help, and without a command: exit code 2", async () => {
    const help = await runSpendra(["--help"], { kind });
    expect(help.code).toBe(0);
    for (const command of COMMANDS) {
      expect(help.stdout).toContain(`  ${command} `);
    }
    expect((await runSpendra([], { kind })).code).toBe(2);
  });

  test("does not know a misspelt command: exit code 2, on standard error", async () => {
    const outcome = await runSpendra(["sevre"], { kind });
    expect(outcome.code).toBe(2);
    expect(outcome.stdout).toBe("");
    expect(outcome.stderr).toContain('no command "sevre"');
  });
});

/** Exit code 1, nothing on standard output, and one message with all of these parts. */
function expectRefusal(outcome: Outcome, ...parts: string[]): void {
  for (const part of parts) {
    expect(outcome.stderr).toContain(part);
  }
  expect(outcome.code).toBe(1);
  expectPlainText(outcome);
}

/** One short message for a person: no stack, no source, no log line, no secret. */
function expectPlainText({ stdout, stderr }: Outcome): void {
  expect(stdout).toBe("");
  expect(stderr).toStartWith("spendra ");
  expect(stderr.trimEnd().split("\n").length).toBeLessThanOrEqual(MESSAGE_LINES_MAX);
  expect(stderr).not.toMatch(/^ +at |\.tsx?:\d+|node_modules|\$bunfs|\bError:|undefined|\[object/m);
  for (const secret of [ENCRYPTION_KEY, METRICS_TOKEN, PROVIDER_KEY, "hunter2"]) {
    expect(stderr).not.toContain(secret);
  }
}

function oneLine({ stdout }: Outcome): Record<string, unknown> {
  expect(stdout.trimEnd().split("\n").length).toBe(1);
  return JSON.parse(stdout) as Record<string, unknown>;
}

function occupyPort(): Promise<{ server: Server; address: string }> {
  return new Promise((resolve) => {
    const server = createServer();
    server.listen(0, "127.0.0.1", () => {
      const bound = server.address();
      const port = typeof bound === "object" && bound !== null ? bound.port : 0;
      resolve({ server, address: `127.0.0.1:${port}` });
    });
  });
}
