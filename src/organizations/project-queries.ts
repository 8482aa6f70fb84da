/** SQL of projects. */
import type { Queryable } from "../database/client.ts";
import { onPage, type Page, type PlaceRow, type Reader } from "./place-queries.ts";

export type ProjectRow = PlaceRow & { branch_id: string | null; team_id: string | null };

type ProjectValues = {
  organizationId: string;
  id: string;
  name: string;
  branchId: string | null;
  teamId: string | null;
};

export async function projectFind(
  sql: Queryable,
  reader: Reader,
  id: string,
): Promise<ProjectRow | null> {
  const [row] = await sql<ProjectRow[]>`
    -- name: projects.find
    ${projectsSeenBy(sql, reader)}
    and id = ${id}
  `;
  return row ?? null;
}

export async function projectInsert(
  sql: Queryable,
  row: ProjectValues & { createdAt: Date },
): Promise<void> {
  await sql`
    -- name: projects.insert
    insert into projects (organization_id, id, branch_id, team_id, name, created_at)
    values (
      ${row.organizationId}, ${row.id}, ${row.branchId}, ${row.teamId}, ${row.name},
      ${row.createdAt}
    )
  `;
}

export async function projectList(sql: Queryable, page: Page): Promise<readonly ProjectRow[]> {
  return await sql<ProjectRow[]>`
    -- name: projects.list
    ${projectsSeenBy(sql, page)}
    ${onPage(sql, page, sql`branch_id, team_id`)}
  `;
}

export async function projectUpdate(sql: Queryable, row: ProjectValues): Promise<void> {
  await sql`
    -- name: projects.update
    update projects
    set name = ${row.name}, branch_id = ${row.branchId}, team_id = ${row.teamId}
    where organization_id = ${row.organizationId} and id = ${row.id}
  `;
}

function projectsSeenBy(sql: Queryable, reader: Reader) {
  return sql`
    select p.id, p.name, p.branch_id, p.team_id, p.version, p.created_at, p.archived_at
    from projects p
    where p.organization_id = ${reader.organizationId}
      and (
        ${reader.employeeIds}::text[] is null
        or num_nonnulls(p.team_id, p.branch_id) = 0
        or exists (
          select from employees e
          left join teams t on t.organization_id = e.organization_id and t.id = e.team_id
          where e.organization_id = p.organization_id
            and (e.team_id = p.team_id or t.branch_id = p.branch_id)
            and e.id = any(${reader.employeeIds}::text[])
        )
      )
  `;
}
