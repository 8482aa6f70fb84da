/** Members: who may change whom, what a suspension and a removal end, areas, several companies. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { ROLES, type Role } from "../src/identity/capability.ts";
import { assignableBy, mayAssignRole } from "../src/identity/role-rules.ts";
import { addMember, addPassword, type Company, foundCompany, openManagement } from "./acme.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";

type Api = ReturnType<typeof openManagement>;
type Person = Awaited<ReturnType<typeof addMember>>;

let database: TestDatabase;
let acme: Company;
let globex: Company;
let api: Api;
let root: Person;
let iam: Person;

beforeAll(async () => {
  database = await testDatabase();
  api = openManagement(database.sql);
  globex = await foundCompany(database.sql, "Globex", api.time.now);
});

beforeEach(async () => {
  acme = await foundCompany(database.sql, "Acme", api.time.now);
  root = await add("org_admin");
  iam = await add("iam_admin");
});

afterAll(async () => {
  await database.drop();
});

async function add(role: Role | null, company = acme): Promise<Person> {
  const { organizationId } = company;
  return await addMember(database.sql, { organizationId, role, now: api.time.now });
}

/** Sends a change with the version that the member has now, or with the given one. */
async function change(by: Person, path: string, body?: unknown, version?: number) {
  const [, id] = path.split("/").slice(1);
  const read = await api.call("GET", `/members/${id}`, { token: by.token });
  const seen = version ?? (read.body as { version: number }).version;
  const method = path.split("/").length > 3 ? "POST" : "PATCH";
  const headers = { "if-match": `"${seen}"` };
  return await api.call(method, path, { token: by.token, headers, body });
}

const patch = (by: Person, of: Person, body: unknown, version?: number) =>
  change(by, `/members/${of.membershipId}`, body, version);

const fieldOf = ({ body }: { body: unknown }) =>
  (body as { errors: { field: string }[] }).errors[0]?.field;

async function roleOf(person: Person): Promise<Role | null> {
  const [row] = await database.sql<{ role: Role }[]>`
    select role from role_assignments
    where membership_id = ${person.membershipId} and revoked_at is null
  `;
  return row?.role ?? null;
}

describe("who may give which role", () => {
  test("is a table: org_admin all, iam_admin the three that are not elevated, others none", () => {
    const granted = (actor: Role | null) => ROLES.filter((to) => mayAssignRole(actor, null, to));
    expect(granted("org_admin")).toEqual([...ROLES]);
    expect(granted("iam_admin")).toEqual(["manager", "employee", "auditor"]);
    for (const actor of ROLES.filter((role) => !/^(org|iam)_admin$/.test(role))) {
      expect(granted(actor)).toEqual([]);
    }
    expect(granted(null)).toEqual([]);
    for (const role of ROLES) {
      expect(assignableBy(role)).toEqual(ROLES.filter((by) => mayAssignRole(by, null, role)));
    }
  });

  test("holds for taking one as well: iam_admin touches no elevated member", async () => {
    for (const role of ["org_admin", "iam_admin", "platform_admin", "finance_manager"] as const) {
      const target = await add(role);
      for (const attempt of [
        patch(iam, target, { role: "auditor" }),
        patch(iam, target, { role: null }),
        patch(iam, target, { employeeId: acme.bobId }),
        change(iam, `/members/${target.membershipId}/suspend`),
        change(iam, `/members/${target.membershipId}/remove`),
      ]) {
        expect(await attempt).toMatchObject({ status: 403, body: { code: "capability_missing" } });
      }
      expect(await roleOf(target)).toBe(role);
      const employee = await add("employee");
      expect((await patch(iam, employee, { role })).status).toBe(403);
      expect(await roleOf(employee)).toBe("employee");
    }
  });

  test("lets an iam_admin move members between manager, employee and auditor", async () => {
    const person = await add(null);
    for (const role of ["employee", "manager", "auditor", null] as const) {
      expect(await patch(iam, person, { role })).toMatchObject({ status: 200, body: { role } });
      expect(await roleOf(person)).toBe(role);
    }
  });

  test("is nobody for their own role: neither iam_admin nor org_admin", async () => {
    expect((await patch(iam, iam, { role: "org_admin" })).status).toBe(403);
    await add("org_admin");
    const own = await patch(root, root, { role: "finance_manager" });
    expect(own).toMatchObject({ status: 403, body: { errors: [{ field: "role" }] } });
    expect(await roleOf(root)).toBe("org_admin");
  });

  test("is the server's to decide: other roles get 403 and change nothing", async () => {
    const person = await add("employee");
    for (const role of ["platform_admin", "finance_manager", "manager", "employee", "auditor"]) {
      const { token } = await add(role as Role);
      const headers = { "if-match": '"1"' };
      const path = `/members/${person.membershipId}`;
      const answer = await api.call("PATCH", path, { token, headers, body: { role: "auditor" } });
      expect(answer).toMatchObject({ status: 403, body: { code: "capability_missing" } });
    }
    expect(await roleOf(person)).toBe("employee");
  });
});

describe("the last org_admin", () => {
  test("can neither be demoted, suspended nor removed", async () => {
    const path = `/members/${root.membershipId}`;
    for (const attempt of [
      patch(root, root, { role: null }),
      change(root, `${path}/suspend`),
      change(root, `${path}/remove`),
    ]) {
      expect(await attempt).toMatchObject({ status: 409, body: { code: "last_org_admin" } });
    }
    expect((await api.call("GET", "/members", { token: root.token })).status).toBe(200);
  });

  test("is counted without suspended ones", async () => {
    const second = await add("org_admin");
    expect((await change(root, `/members/${second.membershipId}/suspend`)).status).toBe(200);
    const answer = await change(root, `/members/${root.membershipId}/remove`);
    expect(answer).toMatchObject({ status: 409, body: { code: "last_org_admin" } });
  });

  test("stays when two demote each other at once, in every of 10 rounds", async () => {
    for (let round = 0; round < 10; round++) {
      acme = await foundCompany(database.sql, "Round", api.time.now);
      const [one, two] = [await add("org_admin"), await add("org_admin")];
      const body = { role: "auditor" };
      const answers = await Promise.all([patch(one, two, body, 1), patch(two, one, body, 1)]);
      const roles = [await roleOf(one), await roleOf(two)];
      expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
      expect(roles.filter((role) => role === "org_admin")).toHaveLength(1);
    }
  });
});

test("of two org_admins who demote each other beside a third, one is faster", async () => {
  const [one, two] = [await add("org_admin"), await add("org_admin")];
  const body = { role: "auditor" };
  const answers = await Promise.all([patch(one, two, body, 1), patch(two, one, body, 1)]);
  // The slower one has lost the right by then.
  const statuses = answers.map(({ status }) => status);
  expect(statuses.toSorted((a, b) => a - b)).toEqual([200, 403]);
});

describe("a change", () => {
  test("needs the present version: 428 without, 409 with another, one of two at once", async () => {
    const person = await add("employee");
    const path = `/members/${person.membershipId}`;
    const body = { role: "auditor" };
    const absent = await api.call("PATCH", path, { token: root.token, body });
    expect(absent).toMatchObject({ status: 428, body: { code: "precondition_required" } });
    const stale = await patch(root, person, body, 99);
    expect(stale).toMatchObject({
      status: 409,
      body: { code: "version_stale", details: { version: 1 } },
    });
    const both = await Promise.all([patch(root, person, body, 1), patch(root, person, body, 1)]);
    expect(both.map(({ status }) => status).toSorted((one, other) => one - other)).toEqual([
      200, 409,
    ]);
    const read = await api.call("GET", path, { token: root.token });
    expect(read.headers.get("etag")).toBe('"2"');
  });

  test("leaves an audit row with before and after, and one for each role", async () => {
    const person = await add("employee");
    await patch(root, person, { role: "auditor" });
    const rows = await database.sql`
      select action, user_id, before, after from audit_log
      where organization_id = ${acme.organizationId} and user_id = ${root.userId}
      order by action
    `;
    expect([...rows]).toMatchObject([
      { action: "membership.change", before: { role: "employee" }, after: { role: "auditor" } },
      { action: "role.grant", after: { role: "auditor" } },
      { action: "role.revoke", before: { role: "employee" } },
    ]);
  });

  test("names each bad field and leaves everything as it was", async () => {
    const person = await add("manager");
    const team = { kind: "team", id: globex.teamId };
    for (const [body, field] of [
      [{ role: "owner" }, "role"],
      [{ rank: 1 }, "rank"],
      [{ employeeId: globex.adaId }, "employeeId"],
      [{ employeeId: "emp_x".repeat(2_000) }, "employeeId"],
      [{ areas: [team] }, "areas"],
      [{ areas: Array.from({ length: 101 }, () => team) }, "areas"],
      [{ role: "auditor", areas: [{ kind: "team", id: acme.teamId }] }, "areas"],
    ] as const) {
      const answer = await patch(root, person, body);
      expect({ status: answer.status, field: fieldOf(answer) }).toEqual({ status: 400, field });
    }
    expect(await roleOf(person)).toBe("manager");
  });

  test("never reaches another organization: 404, as for a member who does not exist", async () => {
    const foreign = await add("employee", globex);
    const nobody = { ...foreign, membershipId: "mem_01KAJ3M2YV8Q4T6W9ZB5C7D1E2" };
    for (const person of [foreign, nobody]) {
      const answer = await patch(root, person, { role: "auditor" }, 1);
      expect(answer).toMatchObject({ status: 404, body: { detail: "There is no such member." } });
    }
    expect(await roleOf(foreign)).toBe("employee");
  });
});

describe("a suspended member", () => {
  test("has no access at once, keeps the role, and signs in anew afterwards", async () => {
    const person = await add("auditor");
    const email = `${person.userId}@suspended.example`.toLowerCase();
    await addPassword(database.sql, person.userId, email);
    const path = `/members/${person.membershipId}`;
    const signIn = { email, password: "correct horse battery staple" };
    expect(await change(root, `${path}/suspend`)).toMatchObject({
      status: 200,
      body: { role: "auditor", suspendedAt: api.time.now.toISOString() },
    });
    expect((await api.call("GET", "/session", { token: person.token })).status).toBe(401);
    expect((await api.call("POST", "/session", { body: signIn })).status).toBe(403);
    expect((await change(root, `${path}/resume`)).status).toBe(200);
    expect((await api.call("GET", "/session", { token: person.token })).status).toBe(401);
    const again = await api.call("POST", "/session", { body: signIn });
    expect(again).toMatchObject({ status: 200, body: { role: "auditor" } });
  });
});

describe("a removed member", () => {
  test("is gone from the list, with role and sessions", async () => {
    const person = await add("finance_manager");
    expect((await change(root, `/members/${person.membershipId}/remove`)).status).toBe(200);
    expect((await api.call("GET", "/session", { token: person.token })).status).toBe(401);
    expect(await roleOf(person)).toBeNull();
    const { body } = await api.call("GET", "/members", { token: root.token });
    expect(JSON.stringify(body)).not.toContain(person.membershipId);
  });
});

describe("a manager", () => {
  test("sees own work and the assigned areas, and no more (F88)", async () => {
    const manager = await add("manager");
    const keys = async () =>
      JSON.stringify((await api.call("GET", "/api-keys", { token: manager.token })).body);
    expect(await keys()).not.toContain(acme.adaKeyId);
    const areas = [{ kind: "team", id: acme.teamId }];
    expect(await patch(iam, manager, { areas })).toMatchObject({ status: 200, body: { areas } });
    expect(await keys()).toContain(acme.adaKeyId);
    expect(await keys()).not.toContain(acme.bobKeyId);
    await patch(iam, manager, { employeeId: acme.bobId });
    expect(await keys()).toContain(acme.bobKeyId);
  });

  test("of a branch sees the teams in it, and loses the areas with the role", async () => {
    const { sql } = database;
    const { organizationId, teamId } = acme;
    const id = "brn_01KAJ3M2YV8Q4T6W9ZB5C7D1E2";
    await sql`
      insert into branches (organization_id, id, name, created_at)
      values (${organizationId}, ${id}, 'North', now())
    `;
    await sql`
      update teams set branch_id = ${id}
      where organization_id = ${organizationId} and id = ${teamId}
    `;
    const manager = await add("manager");
    await patch(root, manager, { areas: [{ kind: "branch", id }] });
    const { body } = await api.call("GET", "/ledger-entries", { token: manager.token });
    expect(JSON.stringify(body)).toContain(acme.adaId);
    expect(JSON.stringify(body)).not.toContain(acme.bobId);
    expect(await patch(root, manager, { role: "employee" })).toMatchObject({ body: { areas: [] } });
  });
});

describe("a person in several organizations", () => {
  test("sees where, changes there and back, and the old session is over", async () => {
    const person = await add("auditor");
    await database.sql`
      insert into memberships (organization_id, id, user_id, created_at)
      values (${globex.organizationId}, ${person.membershipId}, ${person.userId}, now())
    `;
    const { body } = await api.call("GET", "/session/organizations", { token: person.token });
    expect(body).toMatchObject({
      items: [{ id: acme.organizationId }, { id: globex.organizationId }],
    });
    const to = { organizationId: globex.organizationId };
    const answer = await api.call("POST", "/session/organization", {
      token: person.token,
      body: to,
    });
    expect(answer).toMatchObject({ status: 200, body: { organization: { name: "Globex" } } });
    expect((await api.call("GET", "/session", { token: person.token })).status).toBe(401);
  });

  test("cannot change to one where they are no member", async () => {
    const body = { organizationId: globex.organizationId };
    const answer = await api.call("POST", "/session/organization", { token: root.token, body });
    expect(answer).toMatchObject({ status: 404, body: { code: "not_found" } });
    expect((await api.call("GET", "/session", { token: root.token })).status).toBe(200);
  });
});
