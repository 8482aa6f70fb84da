/** The log: what may be in a line, and that nothing else gets there (R122, R123, R124). */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import fc from "fast-check";
import { type LogFields, maskSecrets, openLog } from "../src/log.ts";
import { Secret } from "../src/secret.ts";

const OWN_SECRET = "canary-0123456789_".repeat(3).slice(0, 43);
const OWN_KEY = `spk_live_01KAJ3M0000000000000000000_${OWN_SECRET}`;
const SECRETS: readonly [string, string][] = [
  ["our own key", OWN_KEY],
  ["our own key of the demo", OWN_KEY.replace("live", "test")],
  ["a service token", OWN_KEY.replace("spk_live", "spt")],
  ["an invitation", OWN_KEY.replace("spk_live", "spi")],
  ["a key of OpenAI", "sk-canary0123456789abcdefghijklmnopqrstuvwxyz"],
  ["a project key of OpenAI", "sk-proj-canary_0123456789-abcdef"],
  ["a key of Anthropic", "sk-ant-api03-canary_0123456789-AA"],
  ["a key of OpenRouter", "sk-or-v1-canary0123456789"],
  ["a key of Google", "AIzaSyCanary-0123456789_abcdefghijklmno"],
];

type Line = Record<string, unknown> & { error?: Record<string, unknown> };

/** Writes one event and answers the line as it left. */
function lineOf(fields: LogFields, event = "test.event"): { line: Line; text: string } {
  const lines: string[] = [];
  openLog("debug", { write: (line) => lines.push(line) }).info(event, fields);
  expect(lines).toHaveLength(1);
  const [text = ""] = lines;
  expect(text.endsWith("\n")).toBe(true);
  expect(text.trimEnd()).not.toContain("\n");
  return { line: JSON.parse(text) as Line, text };
}

describe("a line", () => {
  test("has no field that is not allowed, whatever a caller passes", () => {
    const fields = {
      requestId: "req_1",
      authorization: "canary",
      headers: { cookie: "canary" },
      prompt: "canary",
      completion: "canary",
      messages: ["canary"],
      apiKey: "canary",
      password: "canary",
      body: "canary",
      time: "canary",
      level: "canary",
      event: "canary",
      __proto__: { inherited: "canary" },
    } as unknown as LogFields;
    const { line, text } = lineOf(fields);
    expect(Object.keys(line).toSorted()).toEqual(["event", "level", "requestId", "time"]);
    expect(text).not.toContain("canary");
  });

  test.each<[string, unknown]>([
    ["an object", { prompt: "canary" }],
    ["a list", ["canary"]],
    ["something that prints itself", { toJSON: () => "canary" }],
    ["a function", () => "canary"],
    ["a buffer", Buffer.from("canary")],
    ["a map", new Map([["prompt", "canary"]])],
  ])("drops an allowed field that holds %s", (_, value) => {
    const { line, text } = lineOf({ model: value, status: value, error: undefined } as LogFields);
    expect(line).not.toContainKeys(["model"]);
    expect(text).not.toContain("canary");
  });

  test("has an ISO 8601 time in UTC, the level's name and the event", () => {
    const { line } = lineOf({}, "gateway.request");
    expect(line).toEqual({
      level: "info",
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      event: "gateway.request",
    });
  });

  test("has the fields of a request", () => {
    const fields: LogFields = {
      requestId: "req_1",
      organizationId: "org_1",
      apiKeyId: "key_1",
      actorId: "emp_1",
      provider: "openai",
      model: "gpt-4o",
      route: "/v1/chat/completions",
      method: "POST",
      status: 200,
      durationMs: 12.5,
      isStreaming: true,
      reservationId: "rsv_1",
      spendEventId: "spe_1",
      ledgerEntryId: "ent_1",
      usageSource: "provider",
      costNanoUsd: "150",
      policyResult: "granted",
      errorCode: "budget_exceeded",
    };
    expect(lineOf(fields).line).toMatchObject(fields);
  });

  test("stays one line of JSON whatever is in its texts", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        const { line } = lineOf({ model: text.toWellFormed(), error: new Error(text) });
        expect(line["level"]).toBe("info");
      }),
    );
  });

  test("below the level is not written", () => {
    const lines: string[] = [];
    const log = openLog("warn", { write: (line) => lines.push(line) });
    log.debug("a");
    log.info("b");
    log.warn("c");
    log.error("d");
    expect(lines.map((line) => (JSON.parse(line) as Line)["event"])).toEqual(["c", "d"]);
  });

  test("is bounded, however long its texts are", () => {
    const long = "x".repeat(5_000_000);
    const startedMs = performance.now();
    const { text } = lineOf({ model: long, error: new Error(long, { cause: new Error(long) }) });
    expect(text.length).toBeLessThan(20_000);
    expect(performance.now() - startedMs).toBeLessThan(1_000);
  });
});

describe("a secret", () => {
  const places: readonly [string, (secret: string) => LogFields][] = [
    ["an error's message", (secret) => ({ error: new Error(`refused ${secret}!`) })],
    ["an error's class", (secret) => ({ error: Object.assign(new Error("x"), { name: secret }) })],
    ["an error's code", (secret) => ({ error: Object.assign(new Error("x"), { code: secret }) })],
    ["a field of an error", (secret) => ({ error: Object.assign(new Error("x"), { secret }) })],
    [
      "the parameters of a statement",
      (secret) => ({
        error: Object.assign(new Error("x"), { parameters: [secret], query: secret }),
      }),
    ],
    ["an error's cause", (secret) => ({ error: new Error("x", { cause: new Error(secret) }) })],
    ["a cause that is no error", (secret) => ({ error: new Error("x", { cause: secret }) })],
    ["a stack", (secret) => ({ error: Object.assign(new Error("x"), { stack: `at ${secret}` }) })],
    ["a thrown text", (secret) => ({ error: secret })],
    ["a thrown object", (secret) => ({ error: { message: secret } })],
    ["errors of an error", (secret) => ({ error: new AggregateError([new Error(secret)], "x") })],
    ["a path", (secret) => ({ route: `/v1/models/${secret}` })],
    ["an address", (secret) => ({ address: `https://api.example.com/?key=${secret}&a=b` })],
    ["a model", (secret) => ({ model: secret })],
    ["a request's id", (secret) => ({ requestId: `"${secret}"` })],
  ];

  test.each(SECRETS)("that is %s is masked in every place", (_, secret) => {
    for (const [place, fieldsWith] of places) {
      expect(lineOf(fieldsWith(secret)).text, place).not.toContain("anary");
    }
  });

  test("is masked where the text is cut in the middle of it", () => {
    for (const [, secret] of [...SECRETS, ["a password", "postgres://u:canary-canary@host/db"]]) {
      for (let before = 1_940; before <= 2_000; before++) {
        const text = `${" ".repeat(before)}${secret}`;
        const { line } = lineOf({ error: Object.assign(new Error(text), { stack: text }) });
        expect(JSON.stringify(line)).not.toMatch(/anary/);
      }
    }
  });

  test("that knows it is one never shows, not even in an error's message", () => {
    const secret = new Secret("canary");
    const { text } = lineOf({ error: new Error(String(secret)), model: String(secret) });
    expect(text).not.toContain("canary");
    expect(text).toContain("[secret]");
  });
});

describe("maskSecrets", () => {
  test.each([
    ["Authorization: Bearer canary.canary.canary==", "Authorization: Bearer [secret]"],
    ["authorization: bearer canarycanary", "authorization: bearer [secret]"],
    ["AUTHORIZATION: BEARER canarycanary", "AUTHORIZATION: BEARER [secret]"],
    ["Authorization: Basic Y2FuYXJ5OmNhbmFyeQ==", "Authorization: Basic [secret]"],
    ["postgres://user:canary@db:5432/x", "postgres://user:[secret]@db:5432/x"],
    ["postgres://user:can@ary@db:5432/x", "postgres://user:[secret]@db:5432/x"],
    ["redis://:canary@cache", "redis://:[secret]@cache"],
    ["https://user:canary@proxy:3128", "https://user:[secret]@proxy:3128"],
    [`{"key":"${OWN_KEY}"}`, '{"key":"[secret]"}'],
    [`${OWN_KEY},${OWN_KEY}`, "[secret],[secret]"],
    ["Incorrect API key provided: sk-proj-canary12", "Incorrect API key provided: [secret]"],
  ])("makes of %s: %s", (text, masked) => {
    expect(maskSecrets(text)).toBe(masked);
  });

  test.each([
    "",
    "connection refused",
    "postgres://db.example.com:5432/spendra",
    "https://api.openai.com/v1/chat/completions",
    "mail to someone@example.com: done",
    "spk_live_ is the prefix",
    "12:30:00 a@b",
  ])("leaves %j as it is", (text) => {
    expect(maskSecrets(text)).toBe(text);
  });

  test("masks the same text the same way again and again", () => {
    for (let count = 0; count < 3; count++) {
      expect(maskSecrets(OWN_KEY)).toBe("[secret]");
    }
  });

  test.each([
    ["sk-", "sk-".repeat(200_000)],
    ["colons", "://a:".repeat(100_000)],
    ["an endless user", `://${"a".repeat(500_000)}`],
    ["an endless password", `://a:${"b".repeat(500_000)}`],
    ["bearers", "bearer ".repeat(100_000)],
  ])("takes no time for half a megabyte of %s", (_, text) => {
    const startedMs = performance.now();
    maskSecrets(text);
    expect(performance.now() - startedMs).toBeLessThan(2_000);
  });
});

describe("an error", () => {
  test("is described by class, code, message, stack and cause", () => {
    const cause = Object.assign(new TypeError("inner"), { code: "ECONNRESET" });
    const { line } = lineOf({ error: new RangeError("outer", { cause }) });
    expect(line.error).toMatchObject({
      class: "RangeError",
      message: "outer",
      cause: { class: "TypeError", code: "ECONNRESET", message: "inner" },
    });
    expect(line.error?.["stack"]).toContain("log.test.ts");
  });

  test("that is its own cause ends all the same", () => {
    const error = new Error("round and round");
    error.cause = error;
    expect(lineOf({ error }).text).toContain("round and round");
  });

  test.each([[undefined], [null], ["text"], [7], [Symbol("x")]])(
    "that is %p and no error is told by its type only",
    (thrown) => {
      expect(lineOf({ error: thrown }).line.error).toEqual({ class: typeof thrown });
    },
  );
});

describe("standard output", () => {
  const LOG_PATH = join(import.meta.dir, "..", "src", "log.ts");
  const PROGRAM_TIMEOUT_MS = 20_000;

  /** Runs a program that has a log at hand, and answers the events of its lines in their order. */
  async function eventsOf(program: string): Promise<{ events: unknown[]; text: string }> {
    const imported = `import { openLog } from ${JSON.stringify(LOG_PATH)};`;
    const child = Bun.spawn([process.execPath, "-e", `${imported} ${program}`], {
      env: { PATH: process.env["PATH"] ?? "" },
      stdout: "pipe",
      stderr: "ignore",
      timeout: PROGRAM_TIMEOUT_MS,
    });
    const text = await new Response(child.stdout).text();
    await child.exited;
    const lines = text.trimEnd().split("\n");
    return { events: lines.map((line) => (JSON.parse(line) as Line)["event"]), text };
  }

  test("has the lines of a turn when the turn is over, though nothing else happens", async () => {
    const { events } = await eventsOf(`
      const log = openLog("info");
      log.info("a");
      log.info("b");
      setTimeout(() => process.kill(process.pid, "SIGKILL"), 100);
    `);
    expect(events).toEqual(["a", "b"]);
  });

  test("has every line when the process exits in the same turn", async () => {
    const { events } = await eventsOf(`
      const log = openLog("info");
      log.info("a");
      log.info("b");
      process.exit(3);
    `);
    expect(events).toEqual(["a", "b"]);
  });

  test("has every line when the process ends by an error that nobody caught", async () => {
    const { events } = await eventsOf(`
      const log = openLog("info");
      process.on("uncaughtException", (error) => {
        log.error("b", { error });
        process.exit(1);
      });
      log.info("a");
      throw new Error("unforeseen");
    `);
    expect(events).toEqual(["a", "b"]);
  });

  test.each(["warn", "error"])(
    "has a line of level %s, and those before it, though the process is killed at once",
    async (level) => {
      const { events } = await eventsOf(`
        const log = openLog("info");
        log.info("a");
        log.${level}("b");
        log.info("c");
        log.${level}("d");
        process.kill(process.pid, "SIGKILL");
      `);
      expect(events).toEqual(["a", "b", "c", "d"]);
    },
  );

  test("has lines in their order, once each, also when a turn has a megabyte of them", async () => {
    const { events, text } = await eventsOf(`
      const log = openLog("info");
      for (let count = 0; count < 1_000; count++) {
        log.info(String(count), { model: "m".repeat(1_000) });
      }
    `);
    expect(text.length).toBeGreaterThan(1_000_000);
    expect(events).toEqual(Array.from({ length: 1_000 }, (_, count) => String(count)));
  });
});
