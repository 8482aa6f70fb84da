/**
 * What may become whose child, what stands in the way of archiving, and that neither can be raced:
 * at any time every active place has only active places above it, and no agent is its own owner.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { type Answer, addMember, type Company, foundCompany, openManagement } from "./acme.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";

const AGENT_LEVELS_MAX = 16;

let database: TestDatabase;
let api: ReturnType<typeof openManagement>;
let acme: Company;
let token: string;

beforeAll(async () => {
  database = await testDatabase();
  api = openManagement(database.sql);
});

beforeEach(async () => {
  const { now } = api.time;
  acme = await foundCompany(database.sql, "Acme", now);
  const { organizationId } = acme;
  ({ token } = await addMember(database.sql, { organizationId, role: "iam_admin", now }));
});

afterAll(async () => {
  await database.drop();
});

const post = (path: string, body: unknown) => api.call("POST", path, { token, body });

/** Creates a place and answers its id. */
async function make(nouns: string, body: object): Promise<string> {
  const answer = await post(`/${nouns}`, { name: "N", ...body });
  expect(answer.status).toBe(201);
  return (answer.body as { id: string }).id;
}

const subagentOf = (id: string) => make("agents", { owner: { kind: "agent", id } });

/** Changes a place at its present version. */
async function change(path: string, body: object): Promise<Answer> {
  return await api.call("PATCH", path, { token, body, headers: await present(path) });
}

async function archive(path: string): Promise<Answer> {
  return await api.call("POST", `${path}/archive`, { token, headers: await present(path) });
}

async function present(path: string): Promise<Record<string, string>> {
  const { headers } = await api.call("GET", path, { token });
  return { "if-match": headers.get("etag") ?? "" };
}

function expectField(answer: Answer, field: string, reason = ""): void {
  expect(answer).toMatchObject({
    status: 400,
    body: { code: "invalid_request", errors: [{ field }] },
  });
  expect(JSON.stringify(answer.body)).toContain(reason);
}

describe("a move", () => {
  test("takes each kind of place wherever it may be", async () => {
    const branchId = await make("branches", {});
    const teamId = await make("teams", {});
    const agent = `/agents/${await make("agents", { owner: { kind: "team", id: teamId } })}`;
    const subagent = `/agents/${await subagentOf(acme.agentId)}`;
    const moves: readonly [string, object][] = [
      [`/teams/${teamId}`, { branchId }],
      [`/teams/${teamId}`, { branchId: null }],
      [`/projects/${acme.projectId}`, { teamId }],
      [`/projects/${acme.projectId}`, { teamId: null, branchId }],
      [`/projects/${acme.projectId}`, { branchId: null }],
      [`/employees/${acme.bobId}`, { teamId }],
      [`/employees/${acme.bobId}`, { teamId: null }],
      [agent, { owner: { kind: "employee", id: acme.adaId } }],
      [agent, { owner: { kind: "project", id: acme.projectId } }],
      [agent, { owner: { kind: "team", id: acme.teamId } }],
      [subagent, { owner: { kind: "agent", id: agent.slice("/agents/".length) } }],
    ];
    for (const [path, to] of moves) {
      expect(await change(path, to)).toMatchObject({ status: 200, body: to });
    }
  });

  test("keeps in the audit log from where to where", async () => {
    const teamId = await make("teams", {});
    await change(`/employees/${acme.adaId}`, { teamId });
    const [row] = await database.sql`
      select action, before, after from audit_log
      where subject_id = ${acme.adaId} and action <> 'employee.create'
    `;
    expect(row).toEqual({
      action: "employee.change",
      before: { teamId: acme.teamId },
      after: { teamId },
    });
  });

  test("grows the epoch, by which every node hears of it", async () => {
    const epoch = async () => {
      const [row] = await database.sql<[{ epoch: bigint }]>`
        select governance_epoch as epoch from organizations where id = ${acme.organizationId}
      `;
      return row.epoch;
    };
    for (const [path, to] of [
      [`/employees/${acme.adaId}`, { teamId: null }],
      [`/agents/${acme.agentId}`, { owner: { kind: "employee", id: acme.bobId } }],
      [`/projects/${acme.projectId}`, { teamId: null }],
    ] as const) {
      const before = await epoch();
      expect((await change(path, to)).status).toBe(200);
      expect(await epoch()).toBeGreaterThan(before);
    }
  });

  test("into an archived place is refused, and so is a new child there", async () => {
    const branchId = await make("branches", {});
    const teamId = await make("teams", {});
    const projectId = await make("projects", {});
    const employeeId = await make("employees", {});
    const agentId = await make("agents", { owner: { kind: "team", id: acme.teamId } });
    const gone = { branches: branchId, teams: teamId, projects: projectId, employees: employeeId };
    for (const [nouns, id] of Object.entries({ ...gone, agents: agentId })) {
      expect((await archive(`/${nouns}/${id}`)).status).toBe(200);
    }
    const name = "N";
    expectField(await change(`/teams/${acme.teamId}`, { branchId }), "branchId", "archived");
    expectField(await post("/teams", { name, branchId }), "branchId", "archived");
    expectField(await post("/projects", { name, branchId }), "branchId", "archived");
    expectField(await post("/projects", { name, teamId }), "teamId", "archived");
    expectField(await change(`/employees/${acme.adaId}`, { teamId }), "teamId", "archived");
    expectField(await post("/employees", { name, teamId }), "teamId", "archived");
    for (const owner of [
      { kind: "employee", id: employeeId },
      { kind: "team", id: teamId },
      { kind: "project", id: projectId },
    ]) {
      expectField(await change(`/agents/${acme.agentId}`, { owner }), "owner.id", "archived");
      expectField(await post("/agents", { name, owner }), "owner.id", "archived");
    }
    const owner = { kind: "agent", id: agentId };
    expectField(await post("/agents", { name, owner }), "owner.id", "archived");
  });

  test("of a project to a team and a branch at once is refused", async () => {
    const branchId = await make("branches", {});
    expectField(await change(`/projects/${acme.projectId}`, { branchId }), "branchId");
    const both = { name: "N", branchId, teamId: acme.teamId };
    expectField(await post("/projects", both), "branchId");
  });

  test("never makes a subagent of an agent, nor the other way round", async () => {
    const otherId = await make("agents", { owner: { kind: "team", id: acme.teamId } });
    const agent = { owner: { kind: "agent", id: otherId } };
    expectField(await change(`/agents/${acme.agentId}`, agent), "owner.kind");
    const subagent = `/agents/${await subagentOf(acme.agentId)}`;
    const team = { owner: { kind: "team", id: acme.teamId } };
    expectField(await change(subagent, team), "owner.kind");
  });
});

describe("a cycle", () => {
  test("of subagents is refused, however long", async () => {
    const first = await subagentOf(acme.agentId);
    const second = await subagentOf(first);
    const third = await subagentOf(second);
    for (const id of [first, second, third]) {
      const owner = { kind: "agent", id };
      expectField(await change(`/agents/${first}`, { owner }), "owner.id", "owned by itself");
    }
    expect((await change(`/agents/${third}`, ownedBy(first))).status).toBe(200);
  });

  test("cannot be made by two moves at the same time", async () => {
    for (let round = 0; round < 10; round++) {
      const [left, right] = [await subagentOf(acme.agentId), await subagentOf(acme.agentId)];
      const answers = await Promise.all([
        change(`/agents/${left}`, ownedBy(right)),
        change(`/agents/${right}`, ownedBy(left)),
      ]);
      expect(answers.map(({ status }) => status).sort((left, right) => left - right)).toEqual([
        200, 400,
      ]);
    }
  });

  const ownedBy = (id: string) => ({ owner: { kind: "agent", id } });
});

test("agents are at most sixteen levels deep, made or moved", async () => {
  let deepest = acme.agentId;
  for (let level = 2; level <= AGENT_LEVELS_MAX; level++) {
    deepest = await subagentOf(deepest);
  }
  const owner = { kind: "agent", id: deepest };
  expectField(await post("/agents", { name: "N", owner }), "owner.id", "16 levels");
  const apart = await subagentOf(acme.agentId);
  expectField(await change(`/agents/${apart}`, { owner }), "owner.id", "16 levels");
  await subagentOf(apart);
  const { body } = await api.call("GET", `/agents/${deepest}`, { token });
  const above = { kind: "agent", id: (body as { owner: { id: string } }).owner.id };
  expectField(await change(`/agents/${apart}`, { owner: above }), "owner.id", "16 levels");
});

describe("archiving", () => {
  test("is refused while something active is below, and says what", async () => {
    const branchId = await make("branches", {});
    await change(`/teams/${acme.teamId}`, { branchId });
    await make("projects", { branchId });
    const subagentId = await subagentOf(acme.agentId);
    await make("agents", { owner: { kind: "employee", id: acme.adaId } });
    await make("agents", { owner: { kind: "project", id: acme.projectId } });
    for (const [path, details] of [
      [`/branches/${branchId}`, { teams: 1, projects: 1 }],
      [`/teams/${acme.teamId}`, { projects: 1, employees: 1, agents: 1 }],
      [`/employees/${acme.adaId}`, { agents: 1 }],
      [`/projects/${acme.projectId}`, { agents: 1 }],
      [`/agents/${acme.agentId}`, { subagents: 1 }],
    ] as const) {
      const answer = await archive(path);
      expect(answer).toMatchObject({ status: 409, body: { code: "still_in_use" } });
      expect((answer.body as { details: unknown }).details).toEqual(details);
    }
    for (const path of [`/agents/${subagentId}`, `/agents/${acme.agentId}`]) {
      expect((await archive(path)).status).toBe(200);
    }
  });

  test("is not refused for keys and budgets: they stay, with their money", async () => {
    const [{ count }] = await database.sql<[{ count: number }]>`
      select count(*)::int from api_keys where employee_id = ${acme.bobId} and revoked_at is null
    `;
    expect(count).toBe(1);
    expect((await archive(`/employees/${acme.bobId}`)).status).toBe(200);
    const [entries] = await database.sql`
      select count(*)::int from ledger_entries where actor_id = ${acme.bobId}
    `;
    expect(entries).toEqual({ count: 1 });
  });

  test("cannot be raced by a new child: one of the two is refused", async () => {
    for (let round = 0; round < 10; round++) {
      const teamId = await make("teams", {});
      const answers = await Promise.all([
        archive(`/teams/${teamId}`),
        post("/employees", { name: "N", teamId }),
        change(`/employees/${acme.bobId}`, { teamId }),
      ]);
      const [archived, ...children] = answers.map(({ status }) => status < 300);
      expect(archived && children.includes(true)).toBe(false);
      await change(`/employees/${acme.bobId}`, { teamId: null });
    }
    const orphans = await database.sql`
      select e.id from employees e join teams t on t.id = e.team_id
      where e.archived_at is null and t.archived_at is not null
    `;
    expect([...orphans]).toEqual([]);
  });
});

describe("an archived place", () => {
  test("gets no new key", async () => {
    const { now } = api.time;
    const { organizationId } = acme;
    const admin = await addMember(database.sql, { organizationId, role: "org_admin", now });
    await archive(`/employees/${acme.bobId}`);
    await archive(`/projects/${acme.projectId}`);
    const key = { name: "K", environment: "staging", allowedModels: ["*"] };
    const of = (id: string) => ({ kind: "employee", id });
    const asAdmin = (body: object) =>
      api.call("POST", "/api-keys", { token: admin.token, body: { ...key, ...body } });
    expectField(await asAdmin({ actor: of(acme.bobId) }), "actor.id");
    const bound = { actor: of(acme.adaId), projectId: acme.projectId };
    expectField(await asAdmin(bound), "projectId");
  });

  test("gets no new budget and no new policy", async () => {
    const { now } = api.time;
    const { organizationId } = acme;
    const admin = await addMember(database.sql, { organizationId, role: "org_admin", now });
    const asAdmin = (path: string, body: object) =>
      api.call("POST", path, { token: admin.token, body });
    const subagentId = await subagentOf(acme.agentId);
    await archive(`/employees/${acme.bobId}`);
    await archive(`/agents/${subagentId}`);
    for (const scope of [
      { kind: "employee", id: acme.bobId },
      { kind: "subagent", id: subagentId },
    ]) {
      const budget = { name: "B", amountUsd: "1", period: "day", scope };
      expectField(await asAdmin("/budgets", budget), "scope.id", "archived");
      const policy = { name: "P", kind: "per_request_limit", requestMaxUsd: "1", scope };
      expectField(await asAdmin("/policies", policy), "scope.id", "archived");
    }
  });
});
