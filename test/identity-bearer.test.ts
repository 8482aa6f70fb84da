/** Bearer tokens of a Supabase-compatible Auth server: what is accepted, and all that is not. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { readConfig } from "../src/config.ts";
import { createTokenVerifier } from "../src/identity/supabase-token.ts";
import { Secret } from "../src/secret.ts";
import { addMember, foundCompany, openManagement } from "./acme.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";
import { JWT_SECRET, startTokenIssuer } from "./token-issuer.ts";

const EMAIL = "ada@example.com";
const UNSIGNED = Buffer.from('{"alg":"none"}').toString("base64url");

let database: TestDatabase;
let issuer: Awaited<ReturnType<typeof startTokenIssuer>>;
let acme: Awaited<ReturnType<typeof foundCompany>>;
let globex: Awaited<ReturnType<typeof foundCompany>>;
let userId: string;
let api: ReturnType<typeof openManagement>;

beforeAll(async () => {
  database = await testDatabase();
  issuer = await startTokenIssuer();
  const now = new Date();
  acme = await foundCompany(database.sql, "Acme", now);
  globex = await foundCompany(database.sql, "Globex", now);
  const { organizationId } = acme;
  ({ userId } = await addMember(database.sql, { organizationId, role: "auditor", now }));
  await database.sql`update users set email = ${EMAIL} where id = ${userId}`;
});

beforeEach(() => {
  const supabase = { url: issuer.url, jwtSecret: new Secret(JWT_SECRET) };
  api = openManagement(database.sql, { supabase });
});

afterAll(async () => {
  await issuer.stop();
  await database.drop();
});

const ask = (token: string, headers: Record<string, string> = {}) =>
  api.call("GET", "/session", { headers: { authorization: `Bearer ${token}`, ...headers } });

const claims = (more: object = {}) => ({ email: EMAIL, now: api.time.now, ...more });

describe("a bearer token", () => {
  test("signed with the shared secret or with a published key is its person's", async () => {
    for (const token of [
      await issuer.signWithSecret(claims()),
      await issuer.signWithKey(claims({ email: "Ada@Example.com" })),
    ]) {
      expect(await ask(token)).toMatchObject({
        status: 200,
        body: { user: { id: userId }, organization: { id: acme.organizationId }, role: "auditor" },
      });
    }
  });

  test("may do what the role of the membership may, and nothing else", async () => {
    const headers = { authorization: `Bearer ${await issuer.signWithKey(claims())}` };
    expect((await api.call("GET", "/budgets", { headers })).status).toBe(200);
    const body = { name: "K" };
    const answer = await api.call("POST", "/budgets", { headers, body });
    expect(answer).toMatchObject({ status: 403, body: { code: "capability_missing" } });
  });

  test("of another issuer, audience, secret or time is refused", async () => {
    for (const token of [
      await issuer.signWithSecret(claims({ issuer: "https://other.example/auth/v1" })),
      await issuer.signWithKey(claims({ issuer: issuer.url })),
      await issuer.signWithSecret(claims({ audience: "anon" })),
      await issuer.signWithKey(claims({ audience: "other" })),
      await issuer.signWithSecret(claims({ expiresIn: -10 })),
      await issuer.signWithKey(claims({ expiresIn: -10 })),
      await issuer.signWithSecret(claims(), "another secret of more than 32 bytes, surely"),
      await issuer.signWithSecret(claims({ email: undefined })),
    ]) {
      expect(await ask(token)).toMatchObject({ status: 401, body: { code: "invalid_token" } });
    }
  });

  test("is over in the second after its end, and its clock may be five seconds off", async () => {
    const token = await issuer.signWithSecret(claims({ expiresIn: 60 }));
    const { now } = api.time;
    api.time.now = new Date(now.getTime() + 64_000);
    expect((await ask(token)).status).toBe(200);
    api.time.now = new Date(now.getTime() + 66_000);
    expect(await ask(token)).toMatchObject({
      status: 401,
      body: { detail: "The bearer token has expired." },
    });
  });

  test("without a signature, altered, or signed with the public key is refused", async () => {
    const good = await issuer.signWithSecret(claims());
    const [, payload = "", signature = ""] = good.split(".");
    const other = Buffer.from(payload, "base64url").toString().replace(EMAIL, "eve@example.com");
    for (const token of [
      `${UNSIGNED}.${payload}.`,
      `${UNSIGNED}.${payload}.${signature}`,
      `${good.split(".")[0]}.${Buffer.from(other).toString("base64url")}.${signature}`,
      await issuer.signWithSecret(claims(), issuer.publicKeyText()),
      good.slice(0, -4),
      "not.a.token",
      "x".repeat(10_000),
    ]) {
      expect(await ask(token)).toMatchObject({ status: 401, body: { code: "invalid_token" } });
    }
  });

  test("of a person who is no member is 403, in one organization as in all", async () => {
    const stranger = await issuer.signWithKey(claims({ email: "stranger@example.com" }));
    expect(await ask(stranger)).toMatchObject({
      status: 403,
      body: { code: "capability_missing" },
    });
    const token = await issuer.signWithKey(claims());
    const there = { "x-spendra-organization": globex.organizationId };
    expect((await ask(token, there)).status).toBe(403);
    expect((await ask(token, { "x-spendra-organization": acme.organizationId })).status).toBe(200);
    expect((await ask(token, { "x-spendra-organization": "acme" })).status).toBe(400);
  });

  test("opens nothing for who is suspended, removed or disabled, however good", async () => {
    const { sql } = database;
    const token = await issuer.signWithKey(claims());
    const at = api.time.now;
    await sql`update memberships set suspended_at = ${at} where user_id = ${userId}`;
    expect((await ask(token)).status).toBe(403);
    await sql`
      update memberships set suspended_at = null, ended_at = ${at} where user_id = ${userId}
    `;
    expect((await ask(token)).status).toBe(403);
    await sql`update memberships set ended_at = null where user_id = ${userId}`;
    await sql`update users set disabled_at = ${at} where id = ${userId}`;
    expect((await ask(token)).status).toBe(403);
    await sql`update users set disabled_at = null where id = ${userId}`;
    expect((await ask(token)).status).toBe(200);
  });

  test("accepts an invitation for its own e-mail, without any password", async () => {
    const { organizationId } = acme;
    const { now } = api.time;
    const root = await addMember(database.sql, { organizationId, role: "org_admin", now });
    const email = "newcomer@example.com";
    const sent = await api.call("POST", "/invitations", {
      token: root.token,
      body: { email, role: "employee" },
    });
    const body = { token: (sent.body as { token: string }).token };
    const as = async (who: string) =>
      await api.call("POST", "/invitations/accept", {
        body,
        headers: { authorization: `Bearer ${await issuer.signWithKey(claims({ email: who }))}` },
      });
    expect((await as(EMAIL)).status).toBe(404);
    expect((await as(email)).status).toBe(201);
    const token = await issuer.signWithKey(claims({ email }));
    expect(await ask(token)).toMatchObject({ status: 200, body: { role: "employee" } });
    const signIn = { email, password: "correct horse battery staple" };
    expect((await api.call("POST", "/session", { body: signIn })).status).toBe(401);
  });

  test("is refused where no provider is set up, and never falls back to the cookie", async () => {
    api = openManagement(database.sql);
    const { organizationId } = acme;
    const { now } = api.time;
    const { token } = await addMember(database.sql, { organizationId, role: "auditor", now });
    const headers = { authorization: `Bearer ${await issuer.signWithKey(claims())}` };
    for (const authorization of [headers.authorization, "Basic eDp5", "Bearer"]) {
      const answer = await api.call("GET", "/session", { token, headers: { authorization } });
      expect(answer).toMatchObject({ status: 401, body: { code: "invalid_token" } });
    }
  });

  test("never shows in the log, nor does the secret", async () => {
    const token = await issuer.signWithSecret(claims());
    await ask(token);
    await ask(`${token}x`);
    const lines = JSON.stringify(api.lines);
    expect(lines).not.toContain(token.split(".")[2] ?? "");
    expect(lines).not.toContain(JWT_SECRET);
  });
});

describe("the settings", () => {
  const whole = {
    DATABASE_URL: "postgres://127.0.0.1/x",
    SPENDRA_ENCRYPTION_KEY: "e".repeat(32),
    SPENDRA_METRICS_BEARER_TOKEN: "m".repeat(32),
  };

  test("need the server's address with the secret, and a secret of 32 bytes", () => {
    expect(readConfig(whole).supabase).toBeNull();
    const SUPABASE_URL = "https://project.supabase.example";
    expect(readConfig({ ...whole, SUPABASE_URL }).supabase).toEqual({
      url: SUPABASE_URL,
      jwtSecret: null,
    });
    for (const wrong of [
      { SUPABASE_JWT_SECRET: JWT_SECRET },
      { SUPABASE_URL, SUPABASE_JWT_SECRET: "short" },
      { SUPABASE_URL: "project.supabase.example" },
      { SPENDRA_MANAGEMENT_REQUESTS_PER_MINUTE: "0" },
    ]) {
      expect(() => readConfig({ ...whole, ...wrong })).toThrow("1 mistake");
    }
  });
});

describe("the published keys", () => {
  const open = async () => {
    const server = await startTokenIssuer();
    const now = new Date();
    // No pause between two looks: the length of the pause is jose's, and has its own tests there.
    const verifier = createTokenVerifier({ url: server.url, jwtSecret: null }, 0);
    return { server, verifier, claims: { email: EMAIL, now }, now };
  };

  test("are read once for many tokens, and again for a key that is new", async () => {
    const { server, verifier, claims: who, now } = await open();
    for (let round = 0; round < 5; round++) {
      expect(await verifier.verify(await server.signWithKey(who), now)).toEqual({ email: EMAIL });
    }
    expect(server.fetches()).toBe(1);
    const old = await server.signWithKey(who);
    await server.rotate("second");
    expect(await verifier.verify(await server.signWithKey(who), now)).toEqual({ email: EMAIL });
    expect(server.fetches()).toBe(2);
    expect(await refusal(verifier.verify(old, now))).toBe("invalid_token");
    await server.stop();
  });

  test("are asked for once by a flood of unknown key ids", async () => {
    const server = await startTokenIssuer();
    const now = new Date();
    const verifier = createTokenVerifier({ url: server.url, jwtSecret: null });
    await verifier.verify(await server.signWithKey({ email: EMAIL, now }), now);
    for (let attempt = 0; attempt < 20; attempt++) {
      const token = await server.signWithKey({ email: EMAIL, now }, `kid-${attempt}`);
      expect(await refusal(verifier.verify(token, now))).toBe("invalid_token");
    }
    expect(server.fetches()).toBeLessThanOrEqual(2);
    await server.stop();
  });

  test("that cannot be read are 503, not 401, and good again afterwards", async () => {
    const { server, verifier, claims: who, now } = await open();
    server.setAway(true);
    const token = await server.signWithKey(who);
    expect(await refusal(verifier.verify(token, now))).toBe("identity_provider_unavailable");
    server.setAway(false);
    expect(await verifier.verify(token, now)).toEqual({ email: EMAIL });
    await server.stop();
    const fresh = createTokenVerifier({ url: server.url, jwtSecret: null }, 0);
    expect(await refusal(fresh.verify(token, now))).toBe("identity_provider_unavailable");
  });

  test("are not used for tokens of the shared secret, nor is a secret that is unset", async () => {
    const { server, verifier, claims: who, now } = await open();
    const token = await server.signWithSecret(who);
    expect(await refusal(verifier.verify(token, now))).toBe("invalid_token");
    await server.stop();
  });
});

async function refusal(work: Promise<unknown>): Promise<unknown> {
  return await work.then(
    () => "accepted",
    (error: unknown) => (error as { code?: unknown }).code,
  );
}
