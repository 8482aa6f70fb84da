/** Invitations: single use, expiry, who may send them, and how a person proves to be the one. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Role } from "../src/identity/capability.ts";
import { addMember, addPassword, foundCompany, openManagement, PASSWORD } from "./acme.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";

type Invited = { id: string; token: string; email: string };

const DAY_MS = 24 * 60 * 60 * 1000;

let database: TestDatabase;
let api: ReturnType<typeof openManagement>;
let acme: Awaited<ReturnType<typeof foundCompany>>;
let globex: Awaited<ReturnType<typeof foundCompany>>;
let root: Awaited<ReturnType<typeof addMember>>;
let iam: Awaited<ReturnType<typeof addMember>>;
let guests = 0;

beforeAll(async () => {
  database = await testDatabase();
  api = openManagement(database.sql);
  const { now } = api.time;
  acme = await foundCompany(database.sql, "Acme", now);
  globex = await foundCompany(database.sql, "Globex", now);
  root = await add("org_admin");
  iam = await add("iam_admin");
});

afterAll(async () => {
  await database.drop();
});

async function add(role: Role, company = acme) {
  const { organizationId } = company;
  return await addMember(database.sql, { organizationId, role, now: api.time.now });
}

const send = (token: string, body: unknown) => api.call("POST", "/invitations", { token, body });

async function invite(body: object = {}): Promise<Invited> {
  const email = `guest${++guests}@example.com`;
  const answer = await send(root.token, { email, role: "auditor", ...body });
  expect(answer.status).toBe(201);
  return answer.body as Invited;
}

/** Each from an address of its own, so that failures of one test throttle no other. */
const accept = (body: unknown, token?: string) =>
  api.call("POST", "/invitations/accept", {
    body,
    address: `198.51.100.${guests % 250}`,
    ...(token === undefined ? {} : { token }),
  });

const asNew = { name: "Guest", password: PASSWORD };
const isOver = { status: 404, body: { code: "invitation_invalid" } };

describe("an invitation", () => {
  test("makes a new person a member, who is signed in with exactly its role", async () => {
    const { token, email } = await invite({ role: "employee", employeeId: acme.bobId });
    const answer = await accept({ token, ...asNew });
    expect(answer).toMatchObject({
      status: 201,
      body: { user: { email, name: "Guest" }, role: "employee", organization: { name: "Acme" } },
    });
    expect(answer.headers.get("set-cookie")).toContain("spendra_session=");
    const session = await api.call("POST", "/session", { body: { email, password: PASSWORD } });
    const cookie = session.headers.get("set-cookie")?.split(/[=;]/)[1] ?? "";
    const keys = JSON.stringify((await api.call("GET", "/api-keys", { token: cookie })).body);
    expect(keys).toContain(acme.bobKeyId);
    expect(keys).not.toContain(acme.adaKeyId);
  });

  test("works once, also when it is accepted ten times at once", async () => {
    const { token, email } = await invite();
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => accept({ token, ...asNew })),
    );
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(1);
    expect(answers.filter(({ status }) => status < 500)).toHaveLength(10);
    expect(await accept({ token, ...asNew })).toMatchObject(isOver);
    const [row] = await database.sql`select count(*) from users where email = ${email}`;
    expect(row?.["count"]).toBe(1n);
  });

  test("is over when it expires, is revoked or was replaced by a newer one", async () => {
    const expiring = await invite({ expiresAt: new Date(api.time.now.getTime() + DAY_MS) });
    const revoked = await invite();
    const replaced = await invite();
    await send(root.token, { email: replaced.email, role: "auditor" });
    const headers = { "if-match": '"1"' };
    const path = `/invitations/${revoked.id}/revoke`;
    const answer = await api.call("POST", path, { token: root.token, headers });
    expect(answer).toMatchObject({ status: 200, body: { status: "revoked", version: 2 } });
    expect(await accept({ token: revoked.token, ...asNew })).toMatchObject(isOver);
    expect(await accept({ token: replaced.token, ...asNew })).toMatchObject(isOver);
    const { now } = api.time;
    api.time.now = new Date(now.getTime() + DAY_MS);
    expect(await accept({ token: expiring.token, ...asNew })).toMatchObject(isOver);
    api.time.now = now;
    expect((await accept({ token: expiring.token, ...asNew })).status).toBe(201);
  });

  test("is not opened by a guess, another's secret, or the token of something else", async () => {
    const [one, two] = [await invite(), await invite()];
    const [prefix, id] = one.token.split("_");
    const crossed = `${prefix}_${id}_${two.token.split("_").slice(2).join("_")}`;
    const service = one.token.replace("spi_", "spt_");
    for (const token of [crossed, service, "spi_x", `${one.token} `, "A".repeat(100)]) {
      expect(await accept({ token, ...asNew })).toMatchObject(isOver);
    }
  });

  test("is stored as a hash, and no list shows its token", async () => {
    const { token, id } = await invite();
    const secret = token.split("_").slice(2).join("_");
    const rows = JSON.stringify(
      await database.sql`select encode(secret_hmac, 'escape'), i::text from invitations i`,
    );
    const log = JSON.stringify(await database.sql`select a::text from audit_log a`);
    const list = JSON.stringify(
      (await api.call("GET", "/invitations", { token: root.token })).body,
    );
    const one = await api.call("GET", `/invitations/${id}`, { token: root.token });
    for (const text of [rows, log, list, JSON.stringify(one.body), JSON.stringify(api.lines)]) {
      expect(text).not.toContain(secret);
    }
  });
});

describe("who exists already", () => {
  test("joins with their own password only, and wrong ones are throttled", async () => {
    const person = await add("employee", globex);
    const email = "known@example.com";
    await addPassword(database.sql, person.userId, email);
    const { token } = await invite({ email });
    for (let attempt = 0; attempt < 5; attempt++) {
      const guess = await accept({ token, name: "Me", password: "not the password" });
      expect(guess).toMatchObject({ status: 401, body: { code: "wrong_credentials" } });
    }
    expect((await accept({ token, password: PASSWORD })).status).toBe(429);
    const fresh = openManagement(database.sql);
    const body = { token, password: PASSWORD };
    const answer = await fresh.call("POST", "/invitations/accept", { body });
    expect(answer).toMatchObject({ status: 201, body: { user: { id: person.userId } } });
  });

  test("and has no password, is not taken over by who holds the token", async () => {
    const person = await add("employee", globex);
    await database.sql`
      update users set password_hash = null, email = 'sso@example.com' where id = ${person.userId}
    `;
    const { token } = await invite({ email: "sso@example.com" });
    expect(await accept({ token, ...asNew })).toMatchObject({ status: 401 });
    const [row] = await database.sql`
      select password_hash from users where id = ${person.userId}
    `;
    expect(row?.["password_hash"]).toBeNull();
  });

  test("joins by their session alone, but not by that of somebody else", async () => {
    const person = await add("employee", globex);
    await database.sql`update users set email = 'here@example.com' where id = ${person.userId}`;
    const { token } = await invite({ email: "here@example.com" });
    expect(await accept({ token }, root.token)).toMatchObject(isOver);
    const answer = await accept({ token }, person.token);
    expect(answer).toMatchObject({ status: 201, body: { organization: { name: "Acme" } } });
  });

  test("and was removed, comes back with the new role and nothing of the old", async () => {
    const first = await invite({ role: "manager" });
    await accept({ token: first.token, ...asNew });
    const [row] = await database.sql<{ id: string }[]>`
      select m.id from memberships m join users u on u.id = m.user_id where u.email = ${first.email}
    `;
    const headers = { "if-match": '"1"' };
    const path = `/members/${row?.id}`;
    await api.call("POST", `${path}/remove`, { token: root.token, headers });
    const { token } = await invite({ email: first.email, role: "auditor" });
    expect((await accept({ token, password: PASSWORD })).body).toMatchObject({ role: "auditor" });
    const member = await api.call("GET", path, { token: root.token });
    expect(member.body).toMatchObject({ role: "auditor", areas: [], version: 3 });
  });

  test("and is a member, is not invited again", async () => {
    const { email, token } = await invite();
    await accept({ token, ...asNew });
    const answer = await send(root.token, { email: email.toUpperCase(), role: "auditor" });
    expect(answer).toMatchObject({ status: 400, body: { errors: [{ field: "email" }] } });
  });
});

describe("inviting", () => {
  test("an elevated role is for org_admin: an iam_admin neither sends nor revokes it", async () => {
    const email = `guest${++guests}@example.com`;
    for (const role of ["org_admin", "iam_admin", "platform_admin", "finance_manager"]) {
      expect((await send(iam.token, { email, role })).status).toBe(403);
    }
    expect((await send(iam.token, { email, role: "manager" })).status).toBe(201);
    const elevated = await invite({ role: "org_admin" });
    const headers = { "if-match": '"1"' };
    const path = `/invitations/${elevated.id}/revoke`;
    expect((await api.call("POST", path, { token: iam.token, headers })).status).toBe(403);
    // Nor by inviting the same e-mail anew.
    const again = await send(iam.token, { email: elevated.email, role: "employee" });
    expect(again.status).toBe(403);
    expect((await accept({ token: elevated.token, ...asNew })).status).toBe(201);
  });

  test("ends with the right to: an inviter who was removed invites nobody", async () => {
    const gone = await add("org_admin");
    const email = `guest${++guests}@example.com`;
    const sent = await send(gone.token, { email, role: "org_admin" });
    const headers = { "if-match": '"1"' };
    const path = `/members/${gone.membershipId}/remove`;
    expect((await api.call("POST", path, { token: root.token, headers })).status).toBe(200);
    const { token } = sent.body as Invited;
    expect(await accept({ token, ...asNew })).toMatchObject(isOver);
  });

  test("names each bad field", async () => {
    const inAYear = new Date(api.time.now.getTime() + 365 * DAY_MS);
    for (const [body, field] of [
      [{ email: "no address" }, "email"],
      [{ email: `${"a".repeat(10_000)}@example.com` }, "email"],
      [{ email: "a\u0000b@example.com" }, "email"],
      [{ role: "owner" }, "role"],
      [{ employeeId: globex.adaId }, "employeeId"],
      [{ expiresAt: inAYear }, "expiresAt"],
      [{ expiresAt: api.time.now }, "expiresAt"],
      [{ note: "hi" }, "note"],
    ] as const) {
      const answer = await send(root.token, { email: "x@example.com", role: "auditor", ...body });
      const [first] = (answer.body as { errors: { field: string }[] }).errors;
      expect({ status: answer.status, field: first?.field }).toEqual({ status: 400, field });
    }
  });

  test("is seen and revoked only in its own organization", async () => {
    const { id } = await invite();
    const foreign = await add("org_admin", globex);
    const headers = { "if-match": '"1"' };
    const { token } = foreign;
    expect((await api.call("GET", `/invitations/${id}`, { token })).status).toBe(404);
    const path = `/invitations/${id}/revoke`;
    expect((await api.call("POST", path, { token, headers })).status).toBe(404);
    const list = await api.call("GET", "/invitations", { token });
    expect(JSON.stringify(list.body)).not.toContain(id);
  });

  test("a new person needs a name and a password of 12 characters", async () => {
    const { token } = await invite();
    for (const [body, field] of [
      [{ name: "N" }, "password"],
      [{ password: PASSWORD }, "name"],
      [{ name: "N", password: "elevenchars" }, "password"],
    ] as const) {
      const answer = await accept({ token, ...body });
      expect(answer).toMatchObject({ status: 400, body: { errors: [{ field }] } });
    }
    expect((await accept({ token, ...asNew })).status).toBe(201);
  });
});
