/**
 * SQL that is alike for all places below the organization: branches, teams, projects, employees and
 * agents. Every change of a place locks the organization first, so that whatever is decided about
 * parents and children still holds when it is written.
 */
import type { Queryable } from "../database/client.ts";

export const PLACE_KINDS = ["branch", "team", "project", "employee", "agent"] as const;
export type PlaceKind = (typeof PLACE_KINDS)[number];

const TABLES: Readonly<Record<PlaceKind, string>> = {
  branch: "branches",
  team: "teams",
  project: "projects",
  employee: "employees",
  agent: "agents",
};

/** What every row of a place has. */
export type PlaceRow = {
  id: string;
  name: string;
  version: number;
  created_at: Date;
  archived_at: Date | null;
};

/** Who reads: `employeeIds` are those whose surroundings the reader may see, null for all. */
export type Reader = { organizationId: string; employeeIds: readonly string[] | null };

export const PLACE_STATES = ["active", "archived", "all"] as const;

/** One page of a list, newest first: at most `limit` rows whose id is smaller than `beforeId`. */
export type Page = Reader & {
  state: (typeof PLACE_STATES)[number];
  /** Only what directly belongs to this place; null for all. */
  parentId: string | null;
  /** Only names that contain it, in whatever case; null for all. */
  search: string | null;
  beforeId: string;
  limit: number;
};

type PlaceKey = { kind: PlaceKind; organizationId: string; id: string };

/** The end of a list's statement; ids sort by the time they were made. */
export function onPage(sql: Queryable, page: Page, parentColumns: ReturnType<Queryable>) {
  return sql`
    and (${page.state}::text = 'all' or (archived_at is null) = (${page.state}::text = 'active'))
    and (${page.parentId}::text is null or ${page.parentId} in (${parentColumns}))
    and (${page.search}::text is null or strpos(lower(name), lower(${page.search})) > 0)
    and id < ${page.beforeId}
    order by id desc
    limit ${page.limit}
  `;
}

/** Answers whether there is such an organization, and makes every other change in it wait. */
export async function organizationLock(sql: Queryable, organizationId: string): Promise<boolean> {
  const rows = await sql`
    -- name: organizations.lock
    select from organizations
    where id = ${organizationId} and archived_at is null
    for no key update
  `;
  return rows.length > 0;
}

export async function placeArchive(
  sql: Queryable,
  place: PlaceKey & { archivedAt: Date },
): Promise<void> {
  await sql`
    -- name: places.archive
    update ${sql(TABLES[place.kind])}
    set archived_at = ${place.archivedAt}
    where organization_id = ${place.organizationId} and id = ${place.id}
  `;
}

/** Null when there is no such place. */
export async function placeState(
  sql: Queryable,
  place: PlaceKey,
): Promise<"active" | "archived" | null> {
  const [row] = await sql<{ state: "active" | "archived" }[]>`
    -- name: places.state
    select case when archived_at is null then 'active' else 'archived' end as state
    from ${sql(TABLES[place.kind])}
    where organization_id = ${place.organizationId} and id = ${place.id}
  `;
  return row?.state ?? null;
}

export type ChildCounts = {
  teams: number;
  projects: number;
  employees: number;
  agents: number;
  subagents: number;
};

/** How many active places belong to a place. Ids carry their kind, so one id fits one column. */
export async function childCounts(
  sql: Queryable,
  place: { organizationId: string; id: string },
): Promise<ChildCounts> {
  const { organizationId, id } = place;
  const [row] = await sql<[ChildCounts]>`
    -- name: places.child_counts
    select
      (
        select count(*)::int from teams
        where organization_id = ${organizationId} and branch_id = ${id} and archived_at is null
      ) as teams,
      (
        select count(*)::int from projects
        where organization_id = ${organizationId}
          and (branch_id = ${id} or team_id = ${id})
          and archived_at is null
      ) as projects,
      (
        select count(*)::int from employees
        where organization_id = ${organizationId} and team_id = ${id} and archived_at is null
      ) as employees,
      (
        select count(*)::int from agents
        where organization_id = ${organizationId}
          and (owner_employee_id = ${id} or owner_team_id = ${id} or owner_project_id = ${id})
          and archived_at is null
      ) as agents,
      (
        select count(*)::int from agents
        where organization_id = ${organizationId}
          and parent_agent_id = ${id}
          and archived_at is null
      ) as subagents
  `;
  return row;
}
