/**
 * SQL of the hierarchy. Lists are newest first by id (ids sort by the time they were made) and take
 * `employeeIds`: the employees whose surroundings the reader may see, or null for all.
 */
import type { Queryable } from "../database/client.ts";

type Row = { organizationId: string; id: string; name: string; createdAt: Date };

/** One page of a list: at most `limit` rows whose id is smaller than `beforeId`. */
export type Page = {
  organizationId: string;
  employeeIds: readonly string[] | null;
  beforeId: string;
  limit: number;
};

export type AgentOwner = { kind: "employee" | "team" | "project" | "agent"; id: string };

export async function agentInsert(sql: Queryable, row: Row & { owner: AgentOwner }): Promise<void> {
  const idOfKind = (kind: AgentOwner["kind"]) => (row.owner.kind === kind ? row.owner.id : null);
  await sql`
    -- name: agents.insert
    insert into agents (
      organization_id, id, owner_employee_id, owner_team_id, owner_project_id, parent_agent_id,
      name, created_at
    )
    values (
      ${row.organizationId}, ${row.id}, ${idOfKind("employee")}, ${idOfKind("team")},
      ${idOfKind("project")}, ${idOfKind("agent")}, ${row.name}, ${row.createdAt}
    )
  `;
}

export async function agentExists(
  sql: Queryable,
  organizationId: string,
  id: string,
): Promise<boolean> {
  const rows = await sql`
    -- name: agents.exists
    select from agents
    where organization_id = ${organizationId} and id = ${id} and archived_at is null
  `;
  return rows.length > 0;
}

export type AgentRow = {
  id: string;
  name: string;
  owner_kind: AgentOwner["kind"];
  owner_id: string;
  created_at: Date;
};

export async function agentList(sql: Queryable, page: Page): Promise<readonly AgentRow[]> {
  return await sql<AgentRow[]>`
    -- name: agents.list
    select
      id, name, created_at,
      case
        when owner_employee_id is not null then 'employee'
        when owner_team_id is not null then 'team'
        when owner_project_id is not null then 'project'
        else 'agent'
      end as owner_kind,
      coalesce(owner_employee_id, owner_team_id, owner_project_id, parent_agent_id) as owner_id
    from agents
    where organization_id = ${page.organizationId}
      and archived_at is null
      and id < ${page.beforeId}
      and (
        ${page.employeeIds}::text[] is null
        or owner_employee_id = any(${page.employeeIds}::text[])
      )
    order by id desc
    limit ${page.limit}
  `;
}

export async function employeeExists(
  sql: Queryable,
  organizationId: string,
  id: string,
): Promise<boolean> {
  const rows = await sql`
    -- name: employees.exists
    select from employees
    where organization_id = ${organizationId} and id = ${id} and archived_at is null
  `;
  return rows.length > 0;
}

export async function employeeInsert(
  sql: Queryable,
  row: Row & { teamId: string | null; email: string | null },
): Promise<void> {
  await sql`
    -- name: employees.insert
    insert into employees (organization_id, id, team_id, name, email, created_at)
    values (
      ${row.organizationId}, ${row.id}, ${row.teamId}, ${row.name}, ${row.email}, ${row.createdAt}
    )
  `;
}

export type EmployeeRow = {
  id: string;
  name: string;
  email: string | null;
  team_id: string | null;
  created_at: Date;
};

export async function employeeList(sql: Queryable, page: Page): Promise<readonly EmployeeRow[]> {
  return await sql<EmployeeRow[]>`
    -- name: employees.list
    select id, name, email, team_id, created_at
    from employees
    where organization_id = ${page.organizationId}
      and archived_at is null
      and id < ${page.beforeId}
      and (${page.employeeIds}::text[] is null or id = any(${page.employeeIds}::text[]))
    order by id desc
    limit ${page.limit}
  `;
}

export async function organizationInsert(
  sql: Queryable,
  row: { id: string; name: string; completionTokensDefault: number; createdAt: Date },
): Promise<void> {
  await sql`
    -- name: organizations.insert
    insert into organizations (id, name, completion_tokens_default, created_at)
    values (${row.id}, ${row.name}, ${row.completionTokensDefault}, ${row.createdAt})
  `;
}

/** Whether the project exists and is one that these employees may work on. */
export async function projectExists(
  sql: Queryable,
  organizationId: string,
  id: string,
  employeeIds: readonly string[] | null,
): Promise<boolean> {
  const rows = await sql`
    -- name: projects.exists
    select from projects p
    where p.organization_id = ${organizationId}
      and p.id = ${id}
      and p.archived_at is null
      and (
        ${employeeIds}::text[] is null
        or p.team_id is null
        or exists (
          select from employees e
          where e.organization_id = p.organization_id
            and e.team_id = p.team_id
            and e.id = any(${employeeIds}::text[])
        )
      )
  `;
  return rows.length > 0;
}

export async function projectInsert(
  sql: Queryable,
  row: Row & { teamId: string | null },
): Promise<void> {
  await sql`
    -- name: projects.insert
    insert into projects (organization_id, id, team_id, name, created_at)
    values (${row.organizationId}, ${row.id}, ${row.teamId}, ${row.name}, ${row.createdAt})
  `;
}

export type ProjectRow = { id: string; name: string; team_id: string | null; created_at: Date };

export async function projectList(sql: Queryable, page: Page): Promise<readonly ProjectRow[]> {
  return await sql<ProjectRow[]>`
    -- name: projects.list
    select p.id, p.name, p.team_id, p.created_at
    from projects p
    where p.organization_id = ${page.organizationId}
      and p.archived_at is null
      and p.id < ${page.beforeId}
      and (
        ${page.employeeIds}::text[] is null
        or p.team_id is null
        or exists (
          select from employees e
          where e.organization_id = p.organization_id
            and e.team_id = p.team_id
            and e.id = any(${page.employeeIds}::text[])
        )
      )
    order by p.id desc
    limit ${page.limit}
  `;
}

export async function providerAccountInsert(
  sql: Queryable,
  row: Row & { provider: string; baseUrl: string; secretName: string },
): Promise<void> {
  await sql`
    -- name: provider_accounts.insert
    insert into provider_accounts (
      organization_id, id, provider, name, base_url, secret_name, created_at
    )
    values (
      ${row.organizationId}, ${row.id}, ${row.provider}, ${row.name}, ${row.baseUrl},
      ${row.secretName}, ${row.createdAt}
    )
  `;
}

export async function teamInsert(sql: Queryable, row: Row): Promise<void> {
  await sql`
    -- name: teams.insert
    insert into teams (organization_id, id, name, created_at)
    values (${row.organizationId}, ${row.id}, ${row.name}, ${row.createdAt})
  `;
}

export type TeamRow = { id: string; name: string; created_at: Date };

export async function teamList(sql: Queryable, page: Page): Promise<readonly TeamRow[]> {
  return await sql<TeamRow[]>`
    -- name: teams.list
    select t.id, t.name, t.created_at
    from teams t
    where t.organization_id = ${page.organizationId}
      and t.archived_at is null
      and t.id < ${page.beforeId}
      and (
        ${page.employeeIds}::text[] is null
        or exists (
          select from employees e
          where e.organization_id = t.organization_id
            and e.team_id = t.id
            and e.id = any(${page.employeeIds}::text[])
        )
      )
    order by t.id desc
    limit ${page.limit}
  `;
}
