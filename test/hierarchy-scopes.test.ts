/**
 * Scopes over random hierarchies in a real database (F37 to F41): what a request belongs to is
 * exactly what is reached by going up from its actor and its project, on every path; every policy
 * there applies; and after a move the same holds of the new place.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import fc from "fast-check";
import { changeByInstallation } from "../src/audit/audit-event.ts";
import { readPolicies } from "../src/budgets/applicable.ts";
import type { Queryable, Transaction } from "../src/database/client.ts";
import { newId } from "../src/id.ts";
import { agentPlace, createAgent } from "../src/organizations/agent.ts";
import { createBranch } from "../src/organizations/branch.ts";
import { createEmployee, employeePlace } from "../src/organizations/employee.ts";
import { readLineage } from "../src/organizations/lineage.ts";
import { createOrganization } from "../src/organizations/organization.ts";
import { changePlace } from "../src/organizations/place.ts";
import { createProject, projectPlace } from "../src/organizations/project.ts";
import { resolveScopes, type Scope } from "../src/organizations/scopes.ts";
import { createTeam, teamPlace } from "../src/organizations/team.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";

const RUNS = 40;
const now = new Date();
const change = changeByInstallation(now);
const apiKeyId = newId("apiKey", now);

/** A number picks one of what there is, by its remainder; null picks none. */
type Pick = number | null;
type Plan = {
  branches: number;
  teams: Pick[];
  projects: { kind: "team" | "branch"; parent: Pick }[];
  employees: Pick[];
  agents: { kind: "employee" | "team" | "project" | "agent"; owner: number }[];
};

const number = fc.nat(999);
const pick = fc.option(number, { freq: 3 });
const plans: fc.Arbitrary<Plan> = fc.record({
  branches: fc.nat(3),
  teams: fc.array(pick, { maxLength: 4 }),
  projects: fc.array(fc.record({ kind: fc.constantFrom("team", "branch"), parent: pick }), {
    maxLength: 3,
  }),
  employees: fc.array(pick, { minLength: 1, maxLength: 4 }),
  agents: fc.array(
    fc.record({ kind: fc.constantFrom("employee", "team", "project", "agent"), owner: number }),
    { maxLength: 8 },
  ),
});

/** What was made, and what each of it belongs to. */
type World = {
  organizationId: string;
  branches: string[];
  teams: string[];
  projects: string[];
  employees: string[];
  agents: string[];
  above: Map<string, string[]>;
};

let database: TestDatabase;

beforeAll(async () => {
  database = await testDatabase();
});

afterAll(async () => {
  await database.drop();
});

test("the scopes of a request are everything above its actor and its project", async () => {
  await overWorlds(async (sql, world) => {
    for (const actor of actorsOf(world)) {
      for (const projectId of [null, ...world.projects]) {
        const scopes = await scopesOf(sql, world, actor, projectId);
        expect(scopes.map(nameOf).sort()).toEqual(expectedOf(world, [actor, projectId]));
      }
    }
  });
}, 60_000);

test("every policy on the way applies, not just the nearest, and no other", async () => {
  await overWorlds(async (sql, world) => {
    for (const scope of everyScope(world)) {
      await addHardCap(sql, world.organizationId, scope);
    }
    for (const actor of actorsOf(world)) {
      const scopes = await scopesOf(sql, world, actor, null);
      const { caps } = await readPolicies(sql, world.organizationId, scopes);
      const applied = caps.map(({ scope }) => nameOf(scope)).sort();
      const key = `api_key:${apiKeyId}`;
      expect(applied).toEqual(expectedOf(world, [actor]).filter((name) => name !== key));
    }
  });
}, 60_000);

test("after a move the new place counts, and nothing of the old one", async () => {
  await overWorlds(async (sql, world, random) => {
    for (let move = 0; move < 4; move++) {
      await moveOne(sql, world, random(move));
      for (const actor of actorsOf(world)) {
        const scopes = await scopesOf(sql, world, actor, null);
        expect(scopes.map(nameOf).sort()).toEqual(expectedOf(world, [actor]));
      }
    }
  });
}, 60_000);

type Check = (sql: Transaction, world: World, random: (index: number) => number) => Promise<void>;

/** Builds one world a run, and leaves none behind. */
async function overWorlds(check: Check): Promise<void> {
  class Done extends Error {}
  const numbers = fc.array(number, { minLength: 4, maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(plans, numbers, async (plan, random) => {
      const run = database.sql.begin(async (sql) => {
        await check(sql, await build(sql, plan), (index) => random[index] ?? 0);
        throw new Done();
      });
      await run.catch((thrown: unknown) => {
        if (!(thrown instanceof Done)) {
          throw thrown;
        }
      });
    }),
    { numRuns: RUNS },
  );
}

async function build(sql: Transaction, plan: Plan): Promise<World> {
  const organizationId = await createOrganization(sql, { name: "Random" }, change);
  const inIt = { organizationId, name: "N" };
  const world: World = {
    organizationId,
    branches: [],
    teams: [],
    projects: [],
    employees: [],
    agents: [],
    above: new Map(),
  };
  for (let index = 0; index < plan.branches; index++) {
    world.branches.push(await createBranch(sql, inIt, change));
  }
  for (const choice of plan.teams) {
    const branchId = choose(world.branches, choice);
    add(world, "teams", await createTeam(sql, { ...inIt, branchId }, change), branchId);
  }
  for (const { kind, parent } of plan.projects) {
    const teamId = kind === "team" ? choose(world.teams, parent) : null;
    const branchId = kind === "branch" ? choose(world.branches, parent) : null;
    const id = await createProject(sql, { ...inIt, teamId, branchId }, change);
    add(world, "projects", id, teamId ?? branchId);
  }
  for (const choice of plan.employees) {
    const teamId = choose(world.teams, choice);
    const id = await createEmployee(sql, { ...inIt, email: null, teamId }, change);
    add(world, "employees", id, teamId);
  }
  for (const { kind, owner } of plan.agents) {
    const id = choose(world[`${kind}s`], owner);
    if (id !== null) {
      const agentId = await createAgent(sql, { ...inIt, owner: { kind, id } }, change);
      add(world, "agents", agentId, id);
    }
  }
  return world;
}

/** Moves one place, if the rules let it; the world learns it only then. */
async function moveOne(sql: Transaction, world: World, random: number): Promise<void> {
  const { organizationId } = world;
  const movable = [...world.teams, ...world.projects, ...world.employees, ...world.agents];
  const id = choose(movable, random) ?? "";
  const parents = { tea: world.branches, prj: world.teams, emp: world.teams }[id.slice(0, 3)];
  const toId = choose(parents ?? agentOwners(world, id), random >> 2);
  const target = (expectedVersion: number) => ({
    organizationId,
    employeeIds: null,
    id,
    expectedVersion,
  });
  if (world.teams.includes(id)) {
    const at = target(await versionOf(sql, "teams", id));
    await changePlace(sql, teamPlace, at, { branchId: toId }, change);
  } else if (world.projects.includes(id)) {
    const at = target(await versionOf(sql, "projects", id));
    await changePlace(sql, projectPlace, at, { teamId: toId, branchId: null }, change);
  } else if (world.employees.includes(id)) {
    const at = target(await versionOf(sql, "employees", id));
    await changePlace(sql, employeePlace, at, { teamId: toId }, change);
  } else if (toId !== null) {
    const at = target(await versionOf(sql, "agents", id));
    const kinds = { emp: "employee", tea: "team", prj: "project", agt: "agent" } as const;
    const ownerKind = kinds[toId.slice(0, 3) as keyof typeof kinds];
    await changePlace(sql, agentPlace, at, { ownerKind, ownerId: toId }, change);
  } else {
    return;
  }
  world.above.set(id, toId === null ? [] : [toId]);
}

async function versionOf(sql: Transaction, table: string, id: string): Promise<number> {
  const [row] = await sql<[{ version: number }]>`
    select version from ${sql(table)} where id = ${id}
  `;
  return row.version;
}

/** Owners that an agent may be moved to: a subagent to earlier agents, which cannot be below it. */
function agentOwners(world: World, id: string): string[] {
  const isSubagent = world.above.get(id)?.[0]?.startsWith("agt") === true;
  return isSubagent
    ? world.agents.slice(0, world.agents.indexOf(id))
    : [...world.employees, ...world.teams, ...world.projects];
}

async function scopesOf(
  sql: Queryable,
  { organizationId }: World,
  actorId: string,
  projectId: string | null,
): Promise<readonly Scope[]> {
  const isAgent = actorId.startsWith("agt");
  const actor = { employeeId: isAgent ? null : actorId, agentId: isAgent ? actorId : null };
  const lineage = await readLineage(sql, { organizationId, apiKeyId, projectId, ...actor });
  expect(lineage.archived).toBeNull();
  return resolveScopes(lineage);
}

/** The other way to the same answer: follow what each belongs to until nothing is new. */
function expectedOf(world: World, from: readonly (string | null)[]): string[] {
  const reached = new Set<string>();
  const open = from.filter((id) => id !== null);
  for (let id = open.pop(); id !== undefined; id = open.pop()) {
    reached.add(id);
    open.push(...(world.above.get(id) ?? []));
  }
  const names = [...reached].map((id) => nameOf({ kind: kindOf(world, id), id }));
  return [...names, `organization:${world.organizationId}`, `api_key:${apiKeyId}`].sort();
}

function kindOf(world: World, id: string): Scope["kind"] {
  if (world.agents.includes(id)) {
    return world.above.get(id)?.[0]?.startsWith("agt") === true ? "subagent" : "agent";
  }
  const kinds = { brn: "branch", tea: "team", prj: "project", emp: "employee" } as const;
  return kinds[id.slice(0, 3) as keyof typeof kinds];
}

function everyScope(world: World): Scope[] {
  const places = [...world.branches, ...world.teams, ...world.projects, ...actorsOf(world)];
  return [
    { kind: "organization", id: world.organizationId },
    ...places.map((id) => ({ kind: kindOf(world, id), id })),
  ];
}

async function addHardCap(sql: Transaction, organizationId: string, scope: Scope): Promise<void> {
  const budgetId = newId("budget", now);
  await sql`
    insert into budgets (
      organization_id, id, name, scope_kind, scope_id, amount_nano_usd, period, created_at
    )
    values (${organizationId}, ${budgetId}, 'B', ${scope.kind}, ${scope.id}, 1, 'day', ${now})
  `;
  await sql`
    insert into policies (organization_id, id, name, kind, budget_id, created_at)
    values (${organizationId}, ${newId("policy", now)}, 'P', 'hard_cap', ${budgetId}, ${now})
  `;
}

function actorsOf({ employees, agents }: World): string[] {
  return [...employees, ...agents];
}

function nameOf({ kind, id }: Scope): string {
  return `${kind}:${id}`;
}

function choose(ids: readonly string[], choice: Pick): string | null {
  return choice === null ? null : (ids[choice % ids.length] ?? null);
}

function add(
  world: World,
  nouns: "teams" | "projects" | "employees" | "agents",
  id: string,
  parentId: string | null,
): void {
  world[nouns].push(id);
  world.above.set(id, parentId === null ? [] : [parentId]);
}
