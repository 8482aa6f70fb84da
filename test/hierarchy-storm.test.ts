/**
 * Many people at once make, move and archive at random, half of them something that others are
 * changing. Whatever each is told, nobody gets a 5xx, and the rules of the hierarchy hold after it.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { type Answer, addMember, type Company, foundCompany, openManagement } from "./acme.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";

const PEOPLE = 8;
const STEPS = 60;
/** Everyone works on the newest few of each kind. */
const CONTESTED = 3;
const SEED = 20_261_121;
/** What the rules may answer; anything else is a mistake of ours. */
const EXPECTED_STATUSES = [200, 201, 400, 409];

let database: TestDatabase;
let api: ReturnType<typeof openManagement>;
let acme: Company;
let token: string;

beforeAll(async () => {
  database = await testDatabase();
  api = openManagement(database.sql);
  const { now } = api.time;
  acme = await foundCompany(database.sql, "Acme", now);
  const { organizationId } = acme;
  ({ token } = await addMember(database.sql, { organizationId, role: "org_admin", now }));
});

afterAll(async () => {
  await database.drop();
});

test("the rules hold whatever happens at the same time", async () => {
  const known: Known = {
    branches: [],
    teams: [acme.teamId],
    projects: [acme.projectId],
    employees: [acme.adaId, acme.bobId],
    agents: [acme.agentId],
  };
  const people = Array.from({ length: PEOPLE }, (_, person) => act(known, SEED + person));
  const statuses = (await Promise.all(people)).flat();
  expect(statuses).toHaveLength(PEOPLE * STEPS);
  expect(statuses.filter((status) => !EXPECTED_STATUSES.includes(status))).toEqual([]);
  expect(new Set(statuses).size).toBe(EXPECTED_STATUSES.length);
  expect(await brokenRules()).toEqual([]);
}, 60_000);

type Nouns = "branches" | "teams" | "projects" | "employees" | "agents";
type Known = Record<Nouns, string[]>;

async function act(known: Known, seed: number): Promise<number[]> {
  const next = numbersOf(seed);
  const pick = <Item>(items: readonly Item[]): Item => {
    const newest = items.slice(-CONTESTED);
    return newest[next(newest.length)] as Item;
  };
  const kinds = ["branches", "teams", "projects", "employees", "agents", "agents"] as const;
  const statuses: number[] = [];
  for (let step = 0; step < STEPS; step++) {
    const nouns = kinds[next(kinds.length)] ?? "agents";
    const parent = parentOf(nouns, known, pick);
    const id = known[nouns].length === 0 ? null : pick(known[nouns]);
    const action = id === null ? 0 : next(4);
    const answer =
      action === 0 || id === null
        ? await api.call("POST", `/${nouns}`, { token, body: { name: "N", ...parent } })
        : await changeOne(`/${nouns}/${id}`, action === 1 ? null : { name: `N${step}`, ...parent });
    if (answer.status === 201) {
      known[nouns].push((answer.body as { id: string }).id);
    }
    statuses.push(answer.status);
  }
  return statuses;
}

/** Archives where there is nothing to change. */
async function changeOne(path: string, body: object | null): Promise<Answer> {
  const { headers } = await api.call("GET", path, { token });
  const ifMatch = { "if-match": headers.get("etag") ?? "" };
  return body === null
    ? await api.call("POST", `${path}/archive`, { token, headers: ifMatch })
    : await api.call("PATCH", path, { token, headers: ifMatch, body });
}

function parentOf(
  nouns: Nouns,
  known: Known,
  pick: <Item>(items: readonly Item[]) => Item,
): object {
  const branchId = known.branches.length === 0 ? null : pick([null, ...known.branches]);
  const teamId = pick([null, ...known.teams]);
  switch (nouns) {
    case "branches":
      return {};
    case "teams":
      return { branchId };
    case "projects":
      return pick([
        { branchId, teamId: null },
        { branchId: null, teamId },
      ]);
    case "employees":
      return { teamId };
    case "agents": {
      const kind = pick(["employee", "team", "agent"] as const);
      return { owner: { kind, id: pick(known[`${kind}s`]) } };
    }
  }
}

/** Names of the rules that some row breaks. */
async function brokenRules(): Promise<string[]> {
  const rows = await database.sql<{ rule: string }[]>`
    with recursive edges as (
      select id, unnest(array[branch_id]) as parent_id, archived_at from teams
      union all
      select id, unnest(array[branch_id, team_id]), archived_at from projects
      union all
      select id, unnest(array[team_id]), archived_at from employees
      union all
      select
        id,
        unnest(array[owner_employee_id, owner_team_id, owner_project_id, parent_agent_id]),
        archived_at
      from agents
    ),
    archived as (
      select id from branches where archived_at is not null
      union all
      select id from edges where archived_at is not null
    ),
    ways as (
      select id, parent_id, 1 as steps from edges where parent_id is not null
      union all
      select w.id, e.parent_id, w.steps + 1
      from ways w
      join edges e on e.id = w.parent_id
      where e.parent_id is not null and w.steps < 50
    )
    select 'what is active has nothing archived above it' as rule
    from edges e
    where e.archived_at is null and e.parent_id in (select id from archived)
    union
    select 'nothing is above itself' from ways where id = parent_id
    union
    select 'agents are at most 16 levels deep' from ways
    where id like 'agt%' and parent_id like 'agt%' and steps > 15
    union
    select 'each version has its audit row' from teams t
    where version <> (select count(*) from audit_log a where a.subject_id = t.id)
  `;
  return rows.map(({ rule }) => rule);
}

/** Numbers below a limit; the same ones for the same seed (mulberry32). */
function numbersOf(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit;
  };
}
