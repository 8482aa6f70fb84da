/** The first organization without demo data, and the way back for who cannot sign in (F110). */
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { deriveSetupCode } from "../src/identity/setup-code.ts";
import { encryptionKey, openManagement, PASSWORD } from "./acme.ts";
import { nodeEnvironment, runSpendra } from "./node.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";

const MAIN = join(import.meta.dir, "..", "src", "main.ts");
const NEW_PASSWORD = "an entirely different password";
const CREATE = ["organization", "create", "--name", "Acme", "--admin-email", "Ada@Acme.example"];

let database: TestDatabase;
let directory: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "spendra-onboarding-"));
});

beforeEach(async () => {
  database = await testDatabase();
});

afterEach(async () => {
  await database.drop();
});

function passwordFile(password: string): string {
  const path = join(directory, crypto.randomUUID());
  writeFileSync(path, `${password}\n`, { mode: 0o600 });
  return path;
}

async function run(args: readonly string[]) {
  const environment = nodeEnvironment(database.url, "/tmp/unused");
  return await runSpendra([...args], { environment });
}

const create = (password = PASSWORD, ...more: string[]) =>
  run([...CREATE, "--password-file", passwordFile(password), "--json", ...more]);

async function signIn(password: string) {
  const body = { email: "ada@acme.example", password };
  return await openManagement(database.sql).call("POST", "/session", { body });
}

async function count(table: "organizations" | "users" | "memberships"): Promise<bigint> {
  const [row] = await database.sql`select count(*) from ${database.sql(table)}`;
  return row?.["count"] as bigint;
}

describe("spendra organization create", () => {
  test("makes an organization whose org_admin can sign in, once, also run again", async () => {
    const first = await create();
    expect(first).toMatchObject({ code: 0, stderr: "" });
    const facts = JSON.parse(first.stdout) as { organizationId: string; isNew: boolean };
    expect(facts.isNew).toBe(true);
    expect(await signIn(PASSWORD)).toMatchObject({
      status: 200,
      body: { role: "org_admin", organization: { id: facts.organizationId, name: "Acme" } },
    });
    const again = JSON.parse((await create("another password!!")).stdout) as object;
    expect(again).toEqual({ ...facts, isNew: false });
    expect([await count("organizations"), await count("users")]).toEqual([1n, 1n]);
    expect((await signIn(PASSWORD)).status).toBe(200);
    const rows = await database.sql`select distinct action from audit_log order by action`;
    expect(rows.map(({ action }) => action as string)).toEqual([
      "membership.create",
      "organization.create",
      "role.grant",
    ]);
  });

  test("takes the password from standard input, and never shows it", async () => {
    const { code, output } = await withInput(CREATE, `${PASSWORD}\r\nsecond line`);
    expect(code).toBe(0);
    expect(output).not.toContain(PASSWORD);
    expect((await signIn(PASSWORD)).status).toBe(200);
  });

  test("asks twice at a terminal, and shows nothing of what is typed", async () => {
    const typed = [`${PASSWORD.slice(0, -1)}x\u007f${PASSWORD.slice(-1)}\r`, `${PASSWORD}\r`];
    const { code, output } = await atTerminal(CREATE, ["Password: ", "Again: "], typed);
    expect({ code, output }).toMatchObject({ code: 0 });
    expect(output).toContain("created the organization Acme");
    expect(output).not.toContain(PASSWORD.slice(0, 5));
    expect((await signIn(PASSWORD)).status).toBe(200);
    const wrong = await atTerminal(
      ["user", "reset-password", "--email", "ada@acme.example"],
      ["Password: ", "Again: "],
      [`${NEW_PASSWORD}\r`, `${PASSWORD}\r`],
    );
    expect(wrong.code).toBe(2);
    expect(wrong.output).toContain("the two passwords differ");
  });

  test("gives the organization an OpenAI account only when asked to", async () => {
    expect((await create()).code).toBe(0);
    const second = ["organization", "create", "--name", "Globex", "--openai-account"];
    await run([...second, "--admin-email", "ada@acme.example"]);
    const rows = await database.sql`
      select o.name, a.provider, a.secret_name
      from provider_accounts a join organizations o on o.id = a.organization_id
    `;
    expect([...rows]).toEqual([
      { name: "Globex", provider: "openai", secret_name: "OPENAI_API_KEY" },
    ]);
  });

  test("of two at once makes one", async () => {
    const [one, two] = await Promise.all([create(), create()]);
    expect([one.code, two.code]).toEqual([0, 0]);
    expect(await count("organizations")).toBe(1n);
    expect(await count("memberships")).toBe(1n);
  });

  test("refuses a name that another leads, and makes a second for who has a login", async () => {
    await create();
    const taken = await run([
      ...["organization", "create", "--name", "Acme", "--admin-email", "eve@acme.example"],
      ...["--password-file", passwordFile(PASSWORD)],
    ]);
    expect(taken.code).toBe(1);
    expect(taken.stderr).toContain("is not its org_admin");
    expect(await count("users")).toBe(1n);
    const second = ["organization", "create", "--name", "Globex"];
    expect((await run([...second, "--admin-email", "ada@acme.example"])).code).toBe(0);
    expect(await count("organizations")).toBe(2n);
    expect(await count("users")).toBe(1n);
  });

  test("called wrongly exits with 2 and creates nothing", async () => {
    const wrong = [
      ["organization"],
      ["organization", "create", "--name", "Acme"],
      ["organization", "create", "--name", "", "--admin-email", "a@b.example"],
      ["organization", "create", "--name", "Acme", "--admin-email", "nobody"],
      [...CREATE, "--password", "in an argument"],
      [...CREATE, "--password-file", "/does/not/exist"],
      ["user", "delete", "--email", "a@b.example"],
    ];
    for (const args of wrong) {
      expect({ args, code: (await run(args)).code }).toEqual({ args, code: 2 });
    }
    expect(await count("organizations")).toBe(0n);
  }, 30_000);

  test("refuses a short password", async () => {
    const { code, stderr } = await create("elevenchars");
    expect(code).toBe(1);
    expect(stderr).toContain("A password has 12 to 1000 characters.");
    expect(await count("organizations")).toBe(0n);
  });
});

describe("spendra user reset-password", () => {
  test("sets another password, ends all sessions, and is written down", async () => {
    await create();
    const session = await signIn(PASSWORD);
    const token = session.headers.get("set-cookie")?.split(/[=;]/)[1] ?? "";
    const reset = ["user", "reset-password", "--email", "ADA@acme.example", "--json"];
    const done = await run([...reset, "--password-file", passwordFile(NEW_PASSWORD)]);
    expect(JSON.parse(done.stdout)).toMatchObject({ organizations: 1 });
    expect((await signIn(PASSWORD)).status).toBe(401);
    expect((await signIn(NEW_PASSWORD)).status).toBe(200);
    const { call } = openManagement(database.sql);
    expect((await call("GET", "/session", { token })).status).toBe(401);
    const rows = await database.sql`
      select user_id from audit_log where action = 'user.reset_password'
    `;
    expect([...rows]).toEqual([{ user_id: null }]);
  });

  test("says when there is no such person", async () => {
    const reset = ["user", "reset-password", "--email", "nobody@acme.example"];
    const { code, stderr } = await run([...reset, "--password-file", passwordFile(NEW_PASSWORD)]);
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: "spendra user: there is no person nobody@acme.example\n",
    });
  });
});

describe("onboarding over the network", () => {
  const body = {
    setupCode: deriveSetupCode(encryptionKey),
    organizationName: "Acme",
    name: "Ada",
    email: "ada@acme.example",
    password: PASSWORD,
  };

  test("founds the first organization with the setup code, and is closed afterwards", async () => {
    const { call } = openManagement(database.sql);
    expect((await call("GET", "/onboarding")).body).toEqual({ isOpen: true });
    const answer = await call("POST", "/onboarding", { body });
    expect(answer).toMatchObject({
      status: 201,
      body: { role: "org_admin", organization: { name: "Acme" } },
    });
    expect(answer.headers.get("set-cookie")).toContain("spendra_session=");
    expect((await call("GET", "/onboarding")).body).toEqual({ isOpen: false });
    const again = await call("POST", "/onboarding", { body });
    expect(again).toMatchObject({ status: 409, body: { code: "onboarding_closed" } });
    expect((await signIn(PASSWORD)).status).toBe(200);
  });

  test("of ten at once founds one organization with one person", async () => {
    const { call } = openManagement(database.sql);
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, index) =>
        call("POST", "/onboarding", {
          body: { ...body, email: `ada${index}@acme.example` },
          address: `192.0.2.${index}`,
        }),
      ),
    );
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(1);
    expect(answers.filter(({ status }) => status === 409)).toHaveLength(9);
    expect([await count("organizations"), await count("users")]).toEqual([1n, 1n]);
  });

  test("is refused without the code, and guessing is throttled", async () => {
    const { call } = openManagement(database.sql);
    for (let attempt = 0; attempt < 5; attempt++) {
      const guess = await call("POST", "/onboarding", { body: { ...body, setupCode: "guess" } });
      expect(guess).toMatchObject({ status: 401, body: { errors: [{ field: "setupCode" }] } });
    }
    expect((await call("POST", "/onboarding", { body })).status).toBe(429);
    expect(await count("organizations")).toBe(0n);
  });

  test("has a code that the command line prints, the same that the node takes", async () => {
    const environment = {
      ...nodeEnvironment(database.url, "/tmp/unused"),
      SPENDRA_ENCRYPTION_KEY: encryptionKey.reveal(),
    };
    const { stdout } = await runSpendra(["organization", "setup-code"], { environment });
    expect(stdout).toBe(`${body.setupCode}\n`);
  });
});

async function withInput(args: readonly string[], input: string) {
  const child = Bun.spawn([process.execPath, MAIN, ...args], {
    env: nodeEnvironment(database.url, "/tmp/unused"),
    stdin: new TextEncoder().encode(input),
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, err] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  return { code: await child.exited, output: out + err };
}

/** Runs a command at a terminal and types an answer each time that a question appears. */
async function atTerminal(
  args: readonly string[],
  questions: readonly string[],
  answers: readonly string[],
) {
  let output = "";
  let asked = 0;
  const child = Bun.spawn([process.execPath, MAIN, ...args], {
    env: nodeEnvironment(database.url, "/tmp/unused"),
    terminal: {
      cols: 100,
      rows: 30,
      data: (terminal, data) => {
        output += new TextDecoder().decode(data);
        if (asked < questions.length && output.includes(questions[asked] ?? "")) {
          terminal.write(answers[asked] ?? "");
          asked++;
        }
      },
    },
  });
  return { code: await child.exited, output };
}
