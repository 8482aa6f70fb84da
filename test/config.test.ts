/** Configuration: all mistakes at once, secrets from anywhere, and secrets shown nowhere. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import {
  type Config,
  ConfigurationError,
  configurationNames,
  type Environment,
  readConfig,
  readDatabaseUrl,
} from "../src/config.ts";

const DATABASE_URL = "postgres://spendra:canary-password@db.example.com:5432/spendra";
const ENCRYPTION_KEY = `canary-encryption-${"0".repeat(32)}`;
const METRICS_TOKEN = `canary-metrics-${"1".repeat(32)}`;
const PROVIDER_KEY = "sk-proj-canary-provider";
const SECRETS = [DATABASE_URL, "canary-password", ENCRYPTION_KEY, METRICS_TOKEN, PROVIDER_KEY];

const complete: Environment = {
  DATABASE_URL,
  SPENDRA_ENCRYPTION_KEY: ENCRYPTION_KEY,
  SPENDRA_METRICS_BEARER_TOKEN: METRICS_TOKEN,
  OPENAI_API_KEY: PROVIDER_KEY,
};

let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "spendra-config-"));
});

afterAll(async () => {
  await rm(directory, { recursive: true });
});

async function file(name: string, content: string): Promise<string> {
  const path = join(directory, name);
  await writeFile(path, content);
  return path;
}

function mistakesOf(read: () => unknown): readonly string[] {
  try {
    read();
  } catch (error) {
    if (error instanceof ConfigurationError) {
      expect(error.message).toContain(error.mistakes.join("\n  "));
      return error.mistakes;
    }
    throw error;
  }
  return [];
}

function mistakesIn(environment: Environment): readonly string[] {
  return mistakesOf(() => readConfig({ ...complete, ...environment }));
}

describe("a configuration", () => {
  test("with nothing in it names everything that is missing, and how to make it", () => {
    expect(mistakesOf(() => readConfig({}))).toEqual([
      "DATABASE_URL is missing: set it to postgres://user:password@host:5432/database",
      "SPENDRA_METRICS_BEARER_TOKEN is missing: make one with `openssl rand -hex 32`",
      "SPENDRA_ENCRYPTION_KEY is missing: make one with `openssl rand -hex 32`",
    ]);
  });

  test("with every mistake is told all of them together, one line each", () => {
    const mistakes = mistakesIn({
      DATABASE_URL: "mysql://root@localhost/spendra",
      SPENDRA_LISTEN: "8080",
      SPENDRA_METRICS_LISTEN: "localhost:99999",
      SPENDRA_METRICS_BEARER_TOKEN: "short",
      SPENDRA_ENCRYPTION_KEY_FILE: join(directory, "absent"),
      SPENDRA_PUBLIC_URL: "ftp://example.com",
      SPENDRA_ALLOWED_ORIGINS: "https://good.example.com,bad",
      SPENDRA_LOG_LEVEL: "loud",
      SPENDRA_DRAIN_SECONDS: "soon",
      SPENDRA_LISTENS: "0.0.0.0:80",
    });
    expect(mistakes.map((mistake) => mistake.split(" ")[0] ?? "").toSorted()).toEqual([
      "DATABASE_URL",
      "SPENDRA_ALLOWED_ORIGINS.1",
      "SPENDRA_DRAIN_SECONDS",
      "SPENDRA_ENCRYPTION_KEY",
      "SPENDRA_LISTEN",
      "SPENDRA_LISTENS",
      "SPENDRA_LOG_LEVEL",
      "SPENDRA_METRICS_BEARER_TOKEN",
      "SPENDRA_METRICS_LISTEN",
      "SPENDRA_PUBLIC_URL",
    ]);
    expect(mistakes.every((mistake) => !mistake.includes("\n"))).toBe(true);
  });

  test.each([
    ["SPENDRA_LISTEN", ""],
    ["SPENDRA_LISTEN", "0.0.0.0:8080"],
    ["SPENDRA_LISTEN", "[::1]:0"],
    ["SPENDRA_DRAIN_SECONDS", "0"],
    ["SPENDRA_DRAIN_SECONDS", "3600"],
    ["SPENDRA_TEST_POSTGRES_URL", "for the tests"],
    ["SPENDRA_BUILD_VERSION", "1.2.3"],
    ["LISTEN", "not ours"],
  ])("may have %s=%j", (name, value) => {
    expect(mistakesIn({ [name]: value })).toEqual([]);
  });

  test.each([
    ["SPENDRA_LISTEN", "localhost"],
    ["SPENDRA_LISTEN", ":8080"],
    ["SPENDRA_LISTEN", "localhost:"],
    ["SPENDRA_LISTEN", "localhost:65536"],
    ["SPENDRA_LISTEN", "localhost:-1"],
    ["SPENDRA_LISTEN", "::1:8080"],
    ["SPENDRA_LISTEN", "http://localhost:8080"],
    ["SPENDRA_DRAIN_SECONDS", " "],
    ["SPENDRA_DRAIN_SECONDS", "-1"],
    ["SPENDRA_DRAIN_SECONDS", "3601"],
    ["SPENDRA_DRAIN_SECONDS", "1.5"],
    ["SPENDRA_DRAIN_SECONDS", "0x10"],
    ["SPENDRA_DRAIN_SECONDS", "1e2"],
    ["SPENDRA_DRAIN_SECONDS", "Infinity"],
    ["SPENDRA_LOG_LEVEL", "INFO"],
    ["SPENDRA_PUBLIC_URL", "spendra.example.com"],
    ["SPENDRA_PUBLIC_URL", "javascript:alert(1)"],
    ["DATABASE_URL", "postgres://"],
    ["DATABASE_URL", "db.example.com"],
    ["SPENDRA_ENCRYPTION_KEY", "x".repeat(31)],
    ["SPENDRA_METRICS_BEARER_TOKEN", "x"],
    ["SPENDRA_DATABASE_URL", DATABASE_URL],
    ["SPENDRA_LISTEN_FILES", "/etc/listen"],
    ["SPENDRA_", "x"],
  ])("may not have %s=%j, and is told so once", (name, value) => {
    expect(mistakesIn({ [name]: value }).map((mistake) => mistake.split(" ")[0])).toEqual([name]);
  });

  test.each(["changeme", "CHANGEME", "change-me", "secret", "password", "dev-admin-secret"])(
    "may not have the well-known secret %s",
    (secret) => {
      expect(mistakesIn({ SPENDRA_ENCRYPTION_KEY: secret })).toContain(
        "SPENDRA_ENCRYPTION_KEY is a well-known example",
      );
    },
  );
});

describe("a setting from a file", () => {
  test("that is also set directly is refused, and not called missing as well", async () => {
    const path = await file("twice", ENCRYPTION_KEY);
    expect(mistakesIn({ SPENDRA_ENCRYPTION_KEY_FILE: path })).toEqual([
      "SPENDRA_ENCRYPTION_KEY is set twice, directly and by SPENDRA_ENCRYPTION_KEY_FILE: " +
        "remove one of them",
    ]);
  });

  test.each([
    ["that is not there", "absent", "ENOENT"],
    ["that is a directory", ".", "EISDIR"],
    ["whose name is too long", "x".repeat(300), "ENAMETOOLONG"],
  ])("%s is refused, and not called missing as well", (_, name, code) => {
    const environment = { ...complete, DATABASE_URL: "", DATABASE_URL_FILE: join(directory, name) };
    const expected = [`DATABASE_URL_FILE names a file that cannot be read: ${code}`];
    expect(mistakesOf(() => readConfig(environment))).toEqual(expected);
    expect(mistakesOf(() => readDatabaseUrl(environment))).toEqual(expected);
  });

  test("is empty: then it is missing", async () => {
    const path = await file("empty", " \n");
    const environment = {
      ...complete,
      SPENDRA_ENCRYPTION_KEY: "",
      SPENDRA_ENCRYPTION_KEY_FILE: path,
    };
    expect(mistakesOf(() => readConfig(environment))).toEqual([
      "SPENDRA_ENCRYPTION_KEY is missing: make one with `openssl rand -hex 32`",
    ]);
  });

  test("is read for every name, without the line end that editors put there", async () => {
    const environment: Record<string, string> = {};
    for (const [name, value] of Object.entries({ ...complete, SPENDRA_LISTEN: "127.0.0.1:81" })) {
      environment[`${name}_FILE`] = await file(name, `${value}\r\n`);
    }
    const config = readConfig(environment);
    expect(config.databaseUrl.reveal()).toBe(DATABASE_URL);
    expect(config.encryptionKey.reveal()).toBe(ENCRYPTION_KEY);
    expect(config.metricsBearerToken.reveal()).toBe(METRICS_TOKEN);
    expect(config.providerSecrets.get("OPENAI_API_KEY")?.reveal()).toBe(PROVIDER_KEY);
    expect(config.listen).toEqual({ host: "127.0.0.1", port: 81 });
    expect(readDatabaseUrl(environment).reveal()).toBe(DATABASE_URL);
  });
});

describe("a systemd credential", () => {
  test("is read by the setting's name in lower case, where nothing else is set", async () => {
    const credentials = join(directory, "credentials");
    await mkdir(credentials);
    await writeFile(join(credentials, "database_url"), `${DATABASE_URL}\n`);
    await writeFile(join(credentials, "spendra_encryption_key"), "x".repeat(40));
    const config = readConfig({
      ...complete,
      DATABASE_URL: undefined,
      CREDENTIALS_DIRECTORY: credentials,
    });
    expect(config.databaseUrl.reveal()).toBe(DATABASE_URL);
    expect(config.encryptionKey.reveal()).toBe(ENCRYPTION_KEY);
  });

  test("that is there but cannot be read is refused", async () => {
    const credentials = join(directory, "unreadable");
    await mkdir(join(credentials, "openai_api_key"), { recursive: true });
    const environment = { OPENAI_API_KEY: undefined, CREDENTIALS_DIRECTORY: credentials };
    expect(mistakesIn(environment)).toEqual([
      "OPENAI_API_KEY has a credential that cannot be read: EISDIR",
    ]);
  });

  test("whose directory is not there is missing", () => {
    const environment = { DATABASE_URL: undefined, CREDENTIALS_DIRECTORY: join(directory, "no") };
    expect(mistakesIn(environment)).toHaveLength(1);
  });
});

describe("secrets", () => {
  test("are in no message, not even when they stand where a path or an address belongs", () => {
    const environments: Environment[] = [
      { DATABASE_URL: `mysql://root:${PROVIDER_KEY}@localhost` },
      { SPENDRA_ENCRYPTION_KEY: `changeme${"canary"}` },
      { SPENDRA_ENCRYPTION_KEY: undefined, SPENDRA_ENCRYPTION_KEY_FILE: ENCRYPTION_KEY },
      { OPENAI_API_KEY: undefined, OPENAI_API_KEY_FILE: PROVIDER_KEY },
      { DATABASE_URL: undefined, DATABASE_URL_FILE: DATABASE_URL },
      { OPENAI_API_KEY_FILE: PROVIDER_KEY },
      { SPENDRA_OPENAI_API_KEY: PROVIDER_KEY },
    ];
    for (const environment of environments) {
      const text = mistakesIn(environment).join();
      expect(text).not.toBe("");
      expect(text).not.toContain("canary");
    }
  });

  test("are not shown by printing the configuration, however it is printed", () => {
    const config = readConfig(complete);
    const prints: ((shown: Config) => string)[] = [
      (shown) => JSON.stringify(shown),
      (shown) => inspect(shown, { depth: null, showHidden: true }),
      (shown) => Bun.inspect(shown, { depth: 10 }),
      (shown) => Object.values(shown).map(String).join(),
      (shown) => JSON.stringify([...shown.providerSecrets]),
      (shown) => String(shown.databaseUrl) + [...shown.providerSecrets.values()].join(),
      (shown) => JSON.stringify(Object.entries(shown.databaseUrl)),
    ];
    for (const print of prints) {
      for (const secret of SECRETS) {
        expect(print(config)).not.toContain(secret);
      }
    }
    expect(config.databaseUrl.reveal()).toBe(DATABASE_URL);
  });
});

describe("a complete configuration", () => {
  test("has these defaults, and cannot be changed", () => {
    const config = readConfig(complete);
    expect(config).toMatchObject({
      listen: { host: "0.0.0.0", port: 8080 },
      metricsListen: { host: "127.0.0.1", port: 9464 },
      publicUrl: "http://127.0.0.1:8080",
      allowedOrigins: [],
      stateDirectory: "/var/lib/spendra",
      logLevel: "info",
      drainTimeoutMs: 300_000,
    });
    expect(Object.isFrozen(config)).toBe(true);
    expect(configurationNames).toContain("SPENDRA_DRAIN_SECONDS");
  });

  test.each([
    ["[::1]:8080", "http://[::1]:8080"],
    ["[::]:8080", "http://127.0.0.1:8080"],
    ["10.0.0.7:80", "http://10.0.0.7:80"],
    ["spendra.internal:80", "http://spendra.internal:80"],
  ])("that listens on %s is reached at %s", (listen, publicUrl) => {
    expect(readConfig({ ...complete, SPENDRA_LISTEN: listen }).publicUrl).toBe(publicUrl);
  });

  test("has addresses without a slash at their end, and no empty origins", () => {
    const config = readConfig({
      ...complete,
      SPENDRA_PUBLIC_URL: "https://spendra.example.com/",
      SPENDRA_ALLOWED_ORIGINS: " https://a.example.com/ ,, http://localhost:3000,",
    });
    expect(config.publicUrl).toBe("https://spendra.example.com");
    expect(config.allowedOrigins).toEqual(["https://a.example.com", "http://localhost:3000"]);
  });
});
