/**
 * The organization and its places over the API: creating, reading, renaming, moving and archiving,
 * each for the version that its author has seen, and never across organizations.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { ROLES, type Role } from "../src/identity/capability.ts";
import { type Answer, addMember, type Company, foundCompany, openManagement } from "./acme.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";

type Item = { id: string; version: number; archivedAt: string | null };

let database: TestDatabase;
let api: ReturnType<typeof openManagement>;
let acme: Company;
let globex: Company;
let token: string;

beforeAll(async () => {
  database = await testDatabase();
  api = openManagement(database.sql);
});

beforeEach(async () => {
  const { now } = api.time;
  acme = await foundCompany(database.sql, "Acme", now);
  globex = await foundCompany(database.sql, "Globex", now);
  const { organizationId } = acme;
  ({ token } = await addMember(database.sql, { organizationId, role: "org_admin", now }));
});

afterAll(async () => {
  await database.drop();
});

const get = (path: string) => api.call("GET", path, { token });
const post = (path: string, body: unknown) => api.call("POST", path, { token, body });
const patch = (path: string, body: unknown, version?: number | string) =>
  api.call("PATCH", path, { token, body, headers: ifMatch(version) });
const archive = (path: string, version?: number | string) =>
  api.call("POST", `${path}/archive`, { token, headers: ifMatch(version) });

function ifMatch(version?: number | string): Record<string, string> {
  return version === undefined
    ? {}
    : { "if-match": typeof version === "number" ? `"${version}"` : version };
}

async function make(nouns: string, body: unknown): Promise<Item> {
  const answer = await post(`/${nouns}`, body);
  expect(answer).toMatchObject({ status: 201, body: { version: 1, archivedAt: null } });
  return answer.body as Item;
}

function expectField(answer: Answer, field: string): void {
  expect(answer).toMatchObject({ status: 400, body: { code: "invalid_request" } });
  const { errors } = answer.body as { errors: { field: string }[] };
  expect(new Set(errors.map((error) => error.field))).toEqual(new Set([field]));
}

async function auditOf(subjectId: string) {
  return await database.sql`
    select action, before, after from audit_log where subject_id = ${subjectId} order by action
  `;
}

describe("a place", () => {
  const bodies = (): readonly [string, object, object][] => [
    ["branches", { name: "Berlin" }, {}],
    ["teams", { name: "Payments" }, { branchId: null }],
    ["projects", { name: "Skunkworks" }, { branchId: null, teamId: null }],
    ["projects", { name: "Checkout", teamId: acme.teamId }, { branchId: null }],
    ["employees", { name: "Grace" }, { email: null, teamId: null }],
    ["employees", { name: "Grace", email: "g@acme.example", teamId: acme.teamId }, {}],
    ["agents", { name: "Helper", owner: { kind: "employee", id: acme.adaId } }, {}],
    ["agents", { name: "Helper", owner: { kind: "team", id: acme.teamId } }, {}],
    ["agents", { name: "Helper", owner: { kind: "project", id: acme.projectId } }, {}],
    ["agents", { name: "Helper's helper", owner: { kind: "agent", id: acme.agentId } }, {}],
  ];

  test("of each kind is made, read, renamed and archived, with an audit row each", async () => {
    for (const [nouns, body, defaults] of bodies()) {
      const { id } = await make(nouns, body);
      const path = `/${nouns}/${id}`;
      const read = await get(path);
      expect(read.body).toMatchObject({ ...body, ...defaults, id });
      expect(read.headers.get("etag")).toBe('"1"');
      const renamed = await patch(path, { name: "Renamed" }, 1);
      expect(renamed.body).toMatchObject({ ...body, ...defaults, name: "Renamed", version: 2 });
      expect(renamed.headers.get("etag")).toBe('"2"');
      const archived = await archive(path, 2);
      expect(archived).toMatchObject({
        status: 200,
        body: { version: 3, archivedAt: api.time.now.toISOString() },
      });
      const kind = { branches: "branch" }[nouns] ?? nouns.slice(0, -1);
      expect(await auditOf(id)).toMatchObject([
        { action: `${kind}.archive`, before: { archivedAt: null } },
        { action: `${kind}.change`, after: { name: "Renamed" } },
        { action: `${kind}.create`, before: null },
      ]);
    }
  });

  test("is listed until it is archived, and then where archived ones are asked for", async () => {
    const { id } = await make("branches", { name: "Berlin" });
    const listed = async (query: string) =>
      JSON.stringify((await get(`/branches${query}`)).body).includes(id);
    expect([await listed(""), await listed("?state=archived")]).toEqual([true, false]);
    await archive(`/branches/${id}`, 1);
    expect([await listed(""), await listed("?state=archived")]).toEqual([false, true]);
    expect(await listed("?state=all")).toBe(true);
    expectField(await get("/branches?state=gone"), "state");
  });

  test("is found by what it belongs to and by a part of its name", async () => {
    const found = async (path: string) =>
      ((await get(path)).body as { items: Item[] }).items.map(({ id }) => id);
    const { id: branchId } = await make("branches", { name: "100% Berlin_Mitte" });
    const { id: teamId } = await make("teams", { name: "Payments", branchId });
    const { id: projectId } = await make("projects", { name: "Parallel", branchId });
    expect(await found(`/teams?parentId=${branchId}`)).toEqual([teamId]);
    expect(await found(`/projects?parentId=${branchId}`)).toEqual([projectId]);
    expect(await found(`/projects?parentId=${acme.teamId}`)).toEqual([acme.projectId]);
    expect(await found(`/employees?parentId=${acme.teamId}`)).toEqual([acme.adaId]);
    expect(await found(`/agents?parentId=${acme.teamId}`)).toEqual([acme.agentId]);
    expect(await found(`/branches?parentId=${acme.teamId}`)).toEqual([]);
    expect(await found(`/employees?parentId=${globex.teamId}`)).toEqual([]);
    expect(await found("/branches?search=100%25%20BERLIN_m")).toEqual([branchId]);
    expect(await found("/employees?search=%25")).toEqual([]);
    expectField(await get("/teams?parentId=everything"), "parentId");
    expectField(await get(`/teams?search=${"x".repeat(10_000)}`), "search");
    expectField(await get("/teams?search=%00"), "search");
  });

  test("that is changed to what it is stays as it is, without an audit row", async () => {
    const path = `/teams/${acme.teamId}`;
    expect((await patch(path, { name: "Platform" }, 1)).body).toMatchObject({ version: 1 });
    expect(await auditOf(acme.teamId)).toHaveLength(1);
  });

  test("that is archived cannot be changed, and archiving it again changes nothing", async () => {
    const { id } = await make("projects", { name: "P" });
    await archive(`/projects/${id}`, 1);
    expect(await archive(`/projects/${id}`, 2)).toMatchObject({
      status: 200,
      body: { version: 2 },
    });
    expect(await patch(`/projects/${id}`, { name: "Q" }, 2)).toMatchObject({
      status: 409,
      body: { code: "archived" },
    });
    expect(await auditOf(id)).toHaveLength(2);
  });
});

describe("a version", () => {
  test("must be named: 428 without it, and nothing is changed", async () => {
    for (const answer of [
      await patch(`/teams/${acme.teamId}`, { name: "X" }),
      await archive(`/employees/${acme.bobId}`),
      await patch(`/organizations/${acme.organizationId}`, { name: "X" }),
    ]) {
      expect(answer).toMatchObject({ status: 428, body: { code: "precondition_required" } });
    }
    expect((await get(`/teams/${acme.teamId}`)).body).toMatchObject({ name: "Platform" });
  });

  test("must be the present one: 409 says which that is", async () => {
    await patch(`/teams/${acme.teamId}`, { name: "X" }, 1);
    for (const version of [1, 3]) {
      expect(await patch(`/teams/${acme.teamId}`, { name: "Y" }, version)).toMatchObject({
        status: 409,
        body: { code: "version_stale", details: { version: 2 } },
      });
    }
    expect(await archive(`/teams/${acme.teamId}`, 1)).toMatchObject({
      body: { code: "version_stale" },
    });
  });

  test.each(["1", 'W/"1"', "*", '"1", "2"', '"-1"', '"1e9"', '""', `"${"9".repeat(40)}"`])(
    "cannot be %s",
    async (header) => {
      expectField(await patch(`/teams/${acme.teamId}`, { name: "X" }, header), "If-Match");
    },
  );

  test("lets one of many changes at the same time through", async () => {
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, index) =>
        patch(`/teams/${acme.teamId}`, { name: `T${index}` }, 1),
      ),
    );
    const statuses = answers.map(({ status }) => status).sort((left, right) => left - right);
    expect(statuses).toEqual([200, 409, 409, 409, 409, 409, 409, 409]);
    expect((await get(`/teams/${acme.teamId}`)).body).toMatchObject({ version: 2 });
  });
});

describe("the organization", () => {
  test("shows its profile, and is renamed by whoever may", async () => {
    const path = `/organizations/${acme.organizationId}`;
    const before = await get(path);
    expect(before.body).toMatchObject({ name: "Acme", completionTokensDefault: 4096, version: 1 });
    const change = { name: "Acme Europe", completionTokensDefault: 1000 };
    expect((await patch(path, change, 1)).body).toMatchObject({ ...change, version: 2 });
    expect((await get("/session")).body).toMatchObject({ organization: { name: "Acme Europe" } });
    expect(await auditOf(acme.organizationId)).toMatchObject([
      { action: "organization.change", before: { name: "Acme" }, after: change },
      { action: "organization.create" },
    ]);
  });

  test("keeps its version while things in it change", async () => {
    await make("branches", { name: "Berlin" });
    const { headers } = await get(`/organizations/${acme.organizationId}`);
    expect(headers.get("etag")).toBe('"1"');
  });

  test("grows its epoch when a default of requests changes, but not with its name", async () => {
    const path = `/organizations/${acme.organizationId}`;
    const epoch = async () => {
      const [row] = await database.sql<[{ epoch: bigint }]>`
        select governance_epoch as epoch from organizations where id = ${acme.organizationId}
      `;
      return row.epoch;
    };
    const before = await epoch();
    await patch(path, { completionTokensDefault: 5 }, 1);
    await patch(path, { name: "Acme Europe" }, 2);
    expect(await epoch()).toBe(before + 1n);
  });

  test("refuses a default that no model could have", async () => {
    const path = `/organizations/${acme.organizationId}`;
    for (const value of [0, -1, 1.5, 1_000_001, "5", null]) {
      expectField(
        await patch(path, { completionTokensDefault: value }, 1),
        "completionTokensDefault",
      );
    }
  });
});

describe("another organization", () => {
  const foreign = (): readonly [string, string][] => [
    ["organizations", globex.organizationId],
    ["teams", globex.teamId],
    ["projects", globex.projectId],
    ["employees", globex.adaId],
    ["agents", globex.agentId],
  ];

  test("answers exactly like nothing at all", async () => {
    for (const [nouns, id] of foreign()) {
      const unknownId = `${id.slice(0, 4)}01KAJ3M2YV8Q4T6W9ZB5C7D1E2`;
      const shown = async (answer: Promise<Answer>) => {
        const { status, body } = await answer;
        return JSON.stringify({ status, body: { ...(body as object), request_id: "" } });
      };
      const asks = (someId: string) => [
        shown(get(`/${nouns}/${someId}`)),
        shown(patch(`/${nouns}/${someId}`, { name: "Mine" }, 1)),
        ...(nouns === "organizations" ? [] : [shown(archive(`/${nouns}/${someId}`, 1))]),
      ];
      const answers = await Promise.all(asks(id));
      expect(answers).toEqual(await Promise.all(asks(unknownId)));
      expect(answers.every((text) => text.includes('"status":404'))).toBe(true);
    }
    const [row] = await database.sql`select name from teams where id = ${globex.teamId}`;
    expect(row).toEqual({ name: "Platform" });
  });

  test("is never a parent or an owner", async () => {
    const name = "N";
    expectField(await post("/projects", { name, teamId: globex.teamId }), "teamId");
    expectField(await post("/employees", { name, teamId: globex.teamId }), "teamId");
    expectField(await patch(`/employees/${acme.bobId}`, { teamId: globex.teamId }, 1), "teamId");
    for (const owner of [
      { kind: "employee", id: globex.adaId },
      { kind: "team", id: globex.teamId },
      { kind: "project", id: globex.projectId },
      { kind: "agent", id: globex.agentId },
    ]) {
      expectField(await post("/agents", { name, owner }), "owner.id");
    }
  });
});

describe("a role", () => {
  const memberOf = async (role: Role, employeeId?: string) => {
    const { organizationId } = acme;
    const own = employeeId === undefined ? {} : { employeeId };
    return await addMember(database.sql, { organizationId, role, now: api.time.now, ...own });
  };

  test("without the right to it changes nothing", async () => {
    for (const role of ROLES.filter((one) => one !== "org_admin" && one !== "iam_admin")) {
      const member = await memberOf(role, acme.adaId);
      const headers = ifMatch(1);
      const ask = (method: string, path: string, body?: object) =>
        api.call(method, path, { token: member.token, headers, body });
      for (const answer of [
        await ask("POST", "/teams", { name: "N" }),
        await ask("PATCH", `/employees/${acme.adaId}`, { teamId: null }),
        await ask("POST", `/agents/${acme.agentId}/archive`),
        await ask("PATCH", `/organizations/${acme.organizationId}`, { name: "N" }),
      ]) {
        expect(answer).toMatchObject({ status: 403, body: { code: "capability_missing" } });
      }
    }
  });

  test("of an iam_admin changes places, but not the organization", async () => {
    const { token: iam } = await memberOf("iam_admin");
    const headers = ifMatch(1);
    const team = `/teams/${acme.teamId}`;
    const organization = `/organizations/${acme.organizationId}`;
    const body = { name: "N" };
    expect((await api.call("PATCH", team, { token: iam, headers, body })).status).toBe(200);
    expect((await api.call("PATCH", organization, { token: iam, headers, body })).status).toBe(403);
  });

  test("of an employee reads only what is around their own work", async () => {
    const { id: branchId } = await make("branches", { name: "Berlin" });
    const { id: otherId } = await make("branches", { name: "Paris" });
    const { id: nearId } = await make("projects", { name: "Near", branchId });
    const { id: farId } = await make("projects", { name: "Far", branchId: otherId });
    const { id: parallelId } = await make("projects", { name: "Parallel" });
    await patch(`/teams/${acme.teamId}`, { branchId }, 1);
    const own = await make("agents", { name: "A", owner: { kind: "employee", id: acme.adaId } });
    const below = await make("agents", { name: "B", owner: { kind: "agent", id: own.id } });
    const ada = await memberOf("employee", acme.adaId);
    const read = async (path: string) => (await api.call("GET", path, { token: ada.token })).status;
    for (const path of [
      `/employees/${acme.adaId}`,
      `/teams/${acme.teamId}`,
      `/branches/${branchId}`,
      `/projects/${acme.projectId}`,
      `/projects/${nearId}`,
      `/projects/${parallelId}`,
      `/agents/${own.id}`,
      `/agents/${below.id}`,
    ]) {
      expect(await read(path)).toBe(200);
    }
    for (const path of [
      `/employees/${acme.bobId}`,
      `/branches/${otherId}`,
      `/projects/${farId}`,
      `/agents/${acme.agentId}`,
    ]) {
      expect(await read(path)).toBe(404);
    }
  });
});

describe("hostile input", () => {
  const cases = (): readonly [object, string][] => [
    [{ name: "N", color: "red" }, "color"],
    [{}, "name"],
    [{ name: 5 }, "name"],
    [{ name: "" }, "name"],
    [{ name: "n".repeat(10_000) }, "name"],
    [{ name: "two\nlines" }, "name"],
    [{ name: "nul\u0000" }, "name"],
    [{ name: "N", teamId: acme.adaId }, "teamId"],
    [{ name: "N", teamId: "x".repeat(10_000) }, "teamId"],
    [{ name: "N", teamId: "tea_' or 1=1" }, "teamId"],
    [{ name: "N", email: "nobody" }, "email"],
    [{ name: "N", email: `${"a".repeat(400)}@example.com` }, "email"],
  ];

  test("is refused by the name of its field, when it is made and when it is changed", async () => {
    for (const [body, field] of cases()) {
      expectField(await post("/employees", body), field);
      if (Object.keys(body).length > 0) {
        expectField(await patch(`/employees/${acme.adaId}`, body, 1), field);
      }
    }
    expectField(await patch(`/employees/${acme.adaId}`, {}, 1), "body");
    expectField(await get("/employees/emp_nothing"), "id");
    expect((await get(`/employees/${acme.adaId}`)).body).toMatchObject({ version: 1 });
  });

  test("as an owner is refused", async () => {
    for (const [owner, field] of [
      [{ kind: "organization", id: acme.organizationId }, "owner.kind"],
      [{ kind: "team", id: acme.adaId }, "owner.id"],
      [{ kind: "team" }, "owner.id"],
      ["nobody", "owner"],
      [undefined, "owner"],
    ] as const) {
      const answer = await post("/agents", { name: "N", owner });
      expect(answer.status).toBe(400);
      expect(JSON.stringify(answer.body)).toContain(`"${field}"`);
    }
  });
});
