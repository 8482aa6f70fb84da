/** `spendra doctor` where all is well, and where each thing in turn is not. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startApp } from "../src/app.ts";
import type { Finding } from "../src/cli/doctor-check.ts";
import { examineDatabase, judgeVersion } from "../src/cli/doctor-database.ts";
import { probePort } from "../src/cli/listen-port.ts";
import { startProviderSimulator } from "../src/cli/provider-simulator.ts";
import { systemClock } from "../src/clock.ts";
import { readConfig } from "../src/config.ts";
import { placeCanary } from "../src/operations/encryption-canary.ts";
import { Secret } from "../src/secret.ts";
import { emptyDatabase, type TestDatabase, testDatabase } from "./postgres.ts";
import { spawnSpendra } from "./spawned-spendra.ts";

const SECRETS = {
  SPENDRA_ENCRYPTION_KEY: "encryption key of more than thirty-two bytes",
  SPENDRA_METRICS_BEARER_TOKEN: "metrics token of more than thirty-two bytes",
  OPENAI_API_KEY: "sk-of-the-doctors-patient",
};

let database: TestDatabase;
let directory: string;
/** Everything set and right. */
let healthy: Record<string, string>;

beforeAll(async () => {
  database = await testDatabase();
  directory = await mkdtemp(join(tmpdir(), "spendra-doctor-"));
  healthy = {
    ...SECRETS,
    DATABASE_URL: database.url,
    SPENDRA_STATE_DIR: join(directory, "state"),
    SPENDRA_LISTEN: `127.0.0.1:${(await probePort("127.0.0.1", 0)).port}`,
    SPENDRA_METRICS_LISTEN: `127.0.0.1:${(await probePort("127.0.0.1", 0)).port}`,
  };
});

afterAll(async () => {
  await database.drop();
  await rm(directory, { recursive: true, force: true });
});

type Diagnosis = {
  exitCode: number;
  status: string;
  findings: Finding[];
  /** `check: status` of each line. */
  lines: string[];
  of: (check: string) => Finding | undefined;
};

async function examine(changes: Record<string, string> = {}): Promise<Diagnosis> {
  const doctor = spawnSpendra(["doctor", "--json"], { ...healthy, ...changes });
  const exitCode = await doctor.exited;
  for (const secret of Object.values(SECRETS)) {
    expect(doctor.stdout() + doctor.stderr()).not.toContain(secret);
  }
  const report = JSON.parse(doctor.stdout()) as { status: string; findings: Finding[] };
  return {
    ...report,
    exitCode,
    lines: report.findings.map(({ check, status }) => `${check}: ${status}`),
    of: (check) => report.findings.find((finding) => finding.check === check),
  };
}

function containing(text: string): string {
  return expect.stringContaining(text) as string;
}

describe("where all is well", () => {
  test("every line is ok, but for a test server that does not wait for its disk", async () => {
    const { exitCode, status, lines } = await examine();
    expect({ exitCode, status }).toEqual({ exitCode: 0, status: "ok" });
    expect(lines).toEqual([
      "configuration: ok",
      "database: ok",
      "route: ok",
      "server version: ok",
      "rights: ok",
      "schema: ok",
      "encryption key: ok",
      "clock: ok",
      "round trip: ok",
      "durability: warn",
      "provider secrets: ok",
      "state directory: ok",
      "listener: ok",
      "metrics listener: ok",
    ]);
  });

  test("a person gets a line each, the way to mend a warning, and a verdict", async () => {
    const doctor = spawnSpendra(["doctor"], healthy);
    expect(await doctor.exited).toBe(0);
    const lines = doctor.stdout().trimEnd().split("\n");
    expect(lines).toHaveLength(17);
    expect(doctor.stdout()).toContain("→ Switch on in its postgresql.conf: fsync");
    expect(lines.at(-1)).toBe("Nothing is wrong; 1 warning(s).");
    expect(doctor.stdout()).not.toContain("\u001b");
  });

  test("a running node's addresses count as its own", async () => {
    const log = { debug() {}, info() {}, warn() {}, error() {} };
    const app = await startApp(readConfig(healthy), log);
    try {
      const { exitCode, of } = await examine();
      expect(exitCode).toBe(0);
      expect(of("listener")?.message).toContain("served by spendra");
      expect(of("metrics listener")?.message).toContain("served by spendra");
      expect(of("encryption key")?.message).toContain("is the one");
    } finally {
      await app.stop();
      await database.sql`delete from encryption_canaries`;
    }
  });
});

describe("the configuration", () => {
  test("has each of its mistakes on a line, and hides nothing of the database", async () => {
    const { exitCode, findings, of } = await examine({
      SPENDRA_METRICS_BEARER_TOKEN: "",
      SPENDRA_LITSEN: "x",
      SPENDRA_LISTEN: "everywhere",
    });
    expect(exitCode).toBe(1);
    const mistakes = findings.filter(({ check }) => check === "configuration");
    expect(new Set(mistakes.map(({ message }) => message.split(" ")[0]))).toEqual(
      new Set(["SPENDRA_LISTEN", "SPENDRA_LITSEN", "SPENDRA_METRICS_BEARER_TOKEN"]),
    );
    expect(of("schema")?.status).toBe("ok");
    expect(of("listener")?.status).toBe("skip");
  });

  test("without anything set still gives a screen", async () => {
    const doctor = spawnSpendra(["doctor"]);
    expect(await doctor.exited).toBe(1);
    expect(doctor.stdout()).toContain("DATABASE_URL is missing");
    expect(doctor.stdout()).toContain("3 thing(s) to mend");
  });

  test("that lacks a provider's key is worth a warning", async () => {
    const { exitCode, of } = await examine({ OPENAI_API_KEY: "" });
    expect(exitCode).toBe(0);
    expect(of("provider secrets")).toMatchObject({ status: "warn" });
  });
});

describe("the database", () => {
  test("that is down is named without its password, and the host is looked at", async () => {
    const { exitCode, findings, of } = await examine({
      DATABASE_URL: "postgres://ada:geheim@127.0.0.1:1/books",
    });
    expect(exitCode).toBe(1);
    expect(of("database")).toMatchObject({
      status: "fail",
      message: containing("127.0.0.1:1/books"),
      mending: containing("start PostgreSQL"),
    });
    expect(JSON.stringify(findings)).not.toContain("geheim");
    expect(of("schema")?.status).toBe("skip");
    expect(of("listener")?.status).toBe("ok");
  });

  test("that takes connections and never answers does not hold it up", async () => {
    const silent = createServer();
    const listening = Promise.withResolvers<void>();
    silent.listen(0, "127.0.0.1", listening.resolve);
    await listening.promise;
    const address = silent.address();
    const port = typeof address === "object" ? address?.port : 0;
    const { exitCode, of } = await examine({ DATABASE_URL: `postgres://a@127.0.0.1:${port}/b` });
    silent.close();
    expect(exitCode).toBe(1);
    expect(of("database")?.mending).toContain("firewall");
    expect(of("state directory")?.status).toBe("ok");
  });

  test("that does not exist, and a wrong password, are told apart", async () => {
    const missing = new URL(database.url);
    missing.pathname = "/nowhere";
    const absent = await examine({ DATABASE_URL: missing.href });
    expect(absent.of("database")?.mending).toContain("createdb");
    const wrong = new URL(database.url);
    wrong.password = "mistyped";
    const refused = await examine({ DATABASE_URL: wrong.href });
    expect(refused.of("database")?.mending).toContain("password is wrong");
  });

  test("without this build's schema sends to migrate", async () => {
    const empty = await emptyDatabase();
    const { exitCode, of } = await examine({ DATABASE_URL: empty.url });
    await empty.drop();
    expect(exitCode).toBe(1);
    expect(of("schema")).toMatchObject({ status: "fail", mending: "Run `spendra migrate`." });
    expect(of("encryption key")?.status).toBe("ok");
  });

  test("set up with another key says that the original one is needed", async () => {
    await placeCanary(database.sql, new Secret("another key"), systemClock.now());
    const { exitCode, of } = await examine();
    await database.sql`delete from encryption_canaries`;
    expect(exitCode).toBe(1);
    expect(of("encryption key")).toMatchObject({
      status: "fail",
      mending: containing("Restore the original key"),
    });
  });

  test("whose user may not create tables says which grant is missing", async () => {
    const empty = await emptyDatabase();
    const role = new URL(empty.url).pathname.slice(1);
    await empty.sql`create role ${empty.sql(role)} login password 'guest'`;
    const url = new URL(empty.url);
    url.username = role;
    url.password = "guest";
    const { of } = await examine({ DATABASE_URL: url.href });
    await empty.sql`drop role ${empty.sql(role)}`;
    await empty.drop();
    expect(of("rights")).toMatchObject({
      status: "fail",
      mending: containing("grant create on schema public"),
    });
  });

  test.each([
    [130_020, "fail"],
    [140_023, "warn"],
    [150_000, "ok"],
    [180_004, "ok"],
    [190_000, "fail"],
  ])("of version %p is %s", (versionNumber, status) => {
    expect(judgeVersion({ version: "of this test", versionNumber }).status).toBe(status as "ok");
  });

  test.each([
    [0, "ok"],
    [5_000, "warn"],
    [60_000, "fail"],
    [-60_000, "fail"],
  ])("whose clock is %p ms away is %s", async (offsetMs, status) => {
    const clock = {
      ...systemClock,
      now: () => new Date(systemClock.now().getTime() + offsetMs),
    };
    const findings = await examineDatabase(database.url, null, clock);
    expect(findings.find(({ check }) => check === "clock")?.status).toBe(status as "ok");
  });
});

describe("the host", () => {
  test("whose address another program has says which setting to change", async () => {
    const other = startProviderSimulator();
    const { host } = new URL(other.baseUrl);
    const { exitCode, of } = await examine({ SPENDRA_LISTEN: host, SPENDRA_METRICS_LISTEN: host });
    await other.stop();
    expect(exitCode).toBe(1);
    expect(of("listener")?.mending).toContain("SPENDRA_LISTEN");
    expect(of("metrics listener")?.mending).toContain("SPENDRA_METRICS_LISTEN");
  });

  test("without such an address says so", async () => {
    const { of } = await examine({ SPENDRA_LISTEN: "192.0.2.1:8080" });
    expect(of("listener")).toMatchObject({ status: "fail", mending: "Correct SPENDRA_LISTEN." });
  });

  test("where nothing can be written names the directory", async () => {
    const file = join(directory, "file");
    await writeFile(file, "");
    for (const path of [file, join(file, "state")]) {
      const { exitCode, of } = await examine({ SPENDRA_STATE_DIR: path });
      expect(exitCode).toBe(1);
      expect(of("state directory")).toMatchObject({ status: "fail" });
      expect(of("state directory")?.message).toContain(path);
    }
  });
});

test("a misspelt flag is wrong usage", async () => {
  const doctor = spawnSpendra(["doctor", "--jsno"]);
  expect(await doctor.exited).toBe(2);
  expect(doctor.stderr()).toContain("--help");
});
