/** SQL of teams. */
import type { Queryable } from "../database/client.ts";
import { onPage, type Page, type PlaceRow, type Reader } from "./place-queries.ts";

export type TeamRow = PlaceRow & { branch_id: string | null };

type TeamValues = { organizationId: string; id: string; name: string; branchId: string | null };

export async function teamFind(
  sql: Queryable,
  reader: Reader,
  id: string,
): Promise<TeamRow | null> {
  const [row] = await sql<TeamRow[]>`
    -- name: teams.find
    ${teamsSeenBy(sql, reader)}
    and id = ${id}
  `;
  return row ?? null;
}

export async function teamInsert(
  sql: Queryable,
  row: TeamValues & { createdAt: Date },
): Promise<void> {
  await sql`
    -- name: teams.insert
    insert into teams (organization_id, id, branch_id, name, created_at)
    values (${row.organizationId}, ${row.id}, ${row.branchId}, ${row.name}, ${row.createdAt})
  `;
}

export async function teamList(sql: Queryable, page: Page): Promise<readonly TeamRow[]> {
  return await sql<TeamRow[]>`
    -- name: teams.list
    ${teamsSeenBy(sql, page)}
    ${onPage(sql, page, sql`branch_id`)}
  `;
}

export async function teamUpdate(sql: Queryable, row: TeamValues): Promise<void> {
  await sql`
    -- name: teams.update
    update teams
    set name = ${row.name}, branch_id = ${row.branchId}
    where organization_id = ${row.organizationId} and id = ${row.id}
  `;
}

function teamsSeenBy(sql: Queryable, reader: Reader) {
  return sql`
    select t.id, t.name, t.branch_id, t.version, t.created_at, t.archived_at
    from teams t
    where t.organization_id = ${reader.organizationId}
      and (
        ${reader.employeeIds}::text[] is null
        or exists (
          select from employees e
          where e.organization_id = t.organization_id
            and e.team_id = t.id
            and e.id = any(${reader.employeeIds}::text[])
        )
      )
  `;
}
