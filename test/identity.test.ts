/** Signing in, sessions, and what they refuse. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createUserWithPassword } from "../src/identity/user.ts";
import { addMember, addPassword, foundCompany, ORIGIN, openManagement, PASSWORD } from "./acme.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";

const EMAIL = "grace@example.com";
const DAY_MS = 24 * 60 * 60 * 1000;

let database: TestDatabase;
let organizationId: string;
let userId: string;
let token: string;

beforeAll(async () => {
  database = await testDatabase();
  const now = new Date();
  ({ organizationId } = await foundCompany(database.sql, "Acme", now));
  ({ userId, token } = await addMember(database.sql, { organizationId, role: "org_admin", now }));
  await addPassword(database.sql, userId, EMAIL);
});

afterAll(async () => {
  await database.drop();
});

const right = { email: EMAIL, password: PASSWORD };
const wrong = { email: EMAIL, password: "not the password" };

describe("signing in", () => {
  test("refuses a wrong password and an unknown e-mail with the same words", async () => {
    const { call } = openManagement(database.sql);
    const known = await call("POST", "/session", { body: wrong });
    const unknown = await call("POST", "/session", {
      body: { ...wrong, email: "nobody@example.com" },
    });
    expect(known).toMatchObject({ status: 401, body: { code: "wrong_credentials" } });
    expect(unknown).toMatchObject({ status: 401, body: { code: "wrong_credentials" } });
    expect(known.headers.get("set-cookie")).toBeNull();
  });

  test("takes as long for an unknown e-mail as for a known one", async () => {
    const { call } = openManagement(database.sql);
    const elapsedMs = async (email: string) => {
      const startedMs = performance.now();
      await call("POST", "/session", { body: { ...wrong, email }, address: email });
      return performance.now() - startedMs;
    };
    await elapsedMs(EMAIL);
    const knownMs = Math.min(await elapsedMs(EMAIL), await elapsedMs(EMAIL));
    const unknownMs = Math.min(await elapsedMs("a@b.c"), await elapsedMs("d@e.f"));
    expect(unknownMs).toBeGreaterThan(knownMs / 3);
  });

  test("throttles after five failures of an e-mail, whatever the address", async () => {
    const { call, time } = openManagement(database.sql);
    for (let attempt = 0; attempt < 5; attempt++) {
      await call("POST", "/session", { body: wrong, address: `192.0.2.${attempt}` });
    }
    const sixth = await call("POST", "/session", { body: right, address: "192.0.2.99" });
    expect(sixth).toMatchObject({ status: 429, body: { code: "sign_in_throttled" } });
    expect(sixth.headers.get("retry-after")).toBe("900");
    time.now = new Date(time.now.getTime() + 15 * 60 * 1000);
    expect((await call("POST", "/session", { body: right })).status).toBe(200);
  });

  test("throttles an address that tries many e-mails, all at once", async () => {
    const { call } = openManagement(database.sql);
    const attempts = Array.from({ length: 12 }, (_, index) =>
      call("POST", "/session", { body: { ...wrong, email: `user${index}@example.com` } }),
    );
    const statuses = (await Promise.all(attempts)).map(({ status }) => status);
    expect(statuses.filter((status) => status === 401)).toHaveLength(5);
    expect(statuses.filter((status) => status === 429)).toHaveLength(7);
  });

  test("does not count successes", async () => {
    const { call } = openManagement(database.sql);
    for (let attempt = 0; attempt < 7; attempt++) {
      expect((await call("POST", "/session", { body: right })).status).toBe(200);
    }
  });
});

describe("a sign-in that succeeds", () => {
  test("answers who is signed in and sets a strict cookie", async () => {
    const { call } = openManagement(database.sql);
    const answer = await call("POST", "/session", {
      body: { ...right, email: " Grace@Example.com" },
    });
    expect(answer).toMatchObject({
      status: 200,
      body: {
        user: { id: userId, email: EMAIL, name: "M" },
        organization: { id: organizationId, name: "Acme" },
        role: "org_admin",
      },
    });
    expect(answer.headers.get("set-cookie")).toMatch(
      /^spendra_session=[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict; Max-Age=43200$/,
    );
    expect(answer.headers.get("cache-control")).toBe("no-store");
  });

  test("sets a secure, host-bound cookie when the public address is https", async () => {
    const { call } = openManagement(database.sql, { publicUrl: "https://spendra.example.com" });
    const answer = await call("POST", "/session", { body: right });
    expect(answer.headers.get("set-cookie")).toMatch(/^__Host-spendra_session=.*; Secure$/);
  });
});

describe("a sign-in that cannot succeed", () => {
  test("is that of a disabled user and of a user without a membership", async () => {
    const { call } = openManagement(database.sql);
    const now = new Date();
    const email = "stranger@example.com";
    const id = await createUserWithPassword(
      database.sql,
      { email, name: "Stranger", password: PASSWORD },
      now,
    );
    const body = { email, password: PASSWORD };
    expect((await call("POST", "/session", { body })).body).toMatchObject({
      code: "capability_missing",
    });
    await database.sql`update users set disabled_at = ${now} where id = ${id}`;
    expect((await call("POST", "/session", { body })).body).toMatchObject({
      code: "wrong_credentials",
    });
  });

  test("names each wrong field: NUL in an e-mail, no password, an unknown name", async () => {
    const { call } = openManagement(database.sql);
    const body = { email: "a\u0000b@example.com", remember: true };
    const answer = await call("POST", "/session", { body });
    expect(answer).toMatchObject({ status: 400, body: { code: "invalid_request" } });
    expect(JSON.stringify(answer.body)).toMatch(/"email".*"password".*"remember"/);
  });
});

describe("what is stored", () => {
  test("is an argon2id hash of the password and a hash of the session token", async () => {
    const [user] = await database.sql`select password_hash from users where id = ${userId}`;
    expect(user?.["password_hash"]).toMatch(/^\$argon2id\$v=19\$m=65536,t=2,p=1\$/);
    const sessions = JSON.stringify(await database.sql`select * from sessions`);
    expect(sessions).not.toContain(token);
  });

  test("is never a short password of a new user", async () => {
    const user = { email: "short@example.com", name: "S", password: "elevenchars" };
    const refusal = await createUserWithPassword(database.sql, user, new Date()).catch(
      (error: unknown) => error,
    );
    expect(refusal).toMatchObject({ code: "invalid_request", param: "password" });
  });
});

describe("a session", () => {
  test("is over after twelve hours", async () => {
    const { call, time } = openManagement(database.sql);
    expect((await call("GET", "/session", { token })).status).toBe(200);
    time.now = new Date(time.now.getTime() + DAY_MS / 2 + 1000);
    expect(await call("GET", "/session", { token })).toMatchObject({
      status: 401,
      body: { code: "not_signed_in" },
    });
  });

  test("is over after signing out, and signing out twice is no error", async () => {
    const { call } = openManagement(database.sql);
    const now = new Date();
    const member = await addMember(database.sql, { organizationId, role: "auditor", now });
    const signedOut = await call("DELETE", "/session", { token: member.token });
    expect(signedOut.status).toBe(204);
    expect(signedOut.headers.get("set-cookie")).toContain("Max-Age=0");
    expect((await call("GET", "/budgets", { token: member.token })).status).toBe(401);
    expect((await call("DELETE", "/session", { token: member.token })).status).toBe(204);
  });

  test("ends with the membership and with the user", async () => {
    const { call, time } = openManagement(database.sql);
    const { sql } = database;
    const { now } = time;
    const left = await addMember(sql, { organizationId, role: "auditor", now });
    const disabled = await addMember(sql, { organizationId, role: "auditor", now });
    await sql`update memberships set ended_at = ${now} where id = ${left.membershipId}`;
    await sql`update users set disabled_at = ${now} where id = ${disabled.userId}`;
    expect((await call("GET", "/session", { token: left.token })).status).toBe(401);
    expect((await call("GET", "/session", { token: disabled.token })).status).toBe(401);
  });

  test("is not opened by a guessed, malformed or empty token", async () => {
    const { call } = openManagement(database.sql);
    for (const guess of ["A".repeat(43), "x", "", "' or 1=1 --", "\\x00"]) {
      expect((await call("GET", "/session", { token: guess })).status).toBe(401);
    }
  });
});

describe("origins", () => {
  test("of other sites may not change anything", async () => {
    const { call } = openManagement(database.sql);
    const headers = { origin: "https://evil.example" };
    for (const [method, path] of [
      ["POST", "/session"],
      ["DELETE", "/session"],
      ["POST", "/budgets"],
    ] as const) {
      expect(await call(method, path, { token, headers, body: {} })).toMatchObject({
        status: 403,
        body: { code: "wrong_origin" },
      });
    }
    expect((await call("GET", "/session", { token })).status).toBe(200);
  });

  test("may be our own, as the browser or a proxy in front sees it", async () => {
    const { call } = openManagement(database.sql, { publicUrl: "https://spendra.example.com" });
    for (const origin of ["https://spendra.example.com", ORIGIN, "https://127.0.0.1:8080"]) {
      const answer = await call("POST", "/session", { headers: { origin }, body: right });
      expect(answer.status).toBe(200);
    }
  });

  test("get CORS headers only where they are allowed", async () => {
    const allowed = "https://console.example.com";
    const { call } = openManagement(database.sql, { allowedOrigins: [allowed] });
    const preflight = await call("OPTIONS", "/budgets", { headers: { origin: allowed } });
    expect(preflight.status).toBe(204);
    expect(preflight.headers.get("access-control-allow-origin")).toBe(allowed);
    expect(preflight.headers.get("access-control-allow-credentials")).toBe("true");
    const foreign = await call("GET", "/session", {
      token,
      headers: { origin: "https://x.example" },
    });
    expect(foreign.headers.get("access-control-allow-origin")).toBeNull();
    expect(foreign.headers.get("vary")).toBe("Origin");
    const closed = openManagement(database.sql);
    const answer = await closed.call("GET", "/session", { token, headers: { origin: allowed } });
    expect(answer.headers.get("access-control-allow-origin")).toBeNull();
  });
});
