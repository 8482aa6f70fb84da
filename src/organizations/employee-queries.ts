/** SQL of employees. */
import type { Queryable } from "../database/client.ts";
import { onPage, type Page, type PlaceRow, type Reader } from "./place-queries.ts";

export type EmployeeRow = PlaceRow & { email: string | null; team_id: string | null };

type EmployeeValues = {
  organizationId: string;
  id: string;
  name: string;
  email: string | null;
  teamId: string | null;
};

export async function employeeFind(
  sql: Queryable,
  reader: Reader,
  id: string,
): Promise<EmployeeRow | null> {
  const [row] = await sql<EmployeeRow[]>`
    -- name: employees.find
    ${employeesSeenBy(sql, reader)}
    and id = ${id}
  `;
  return row ?? null;
}

export async function employeeInsert(
  sql: Queryable,
  row: EmployeeValues & { createdAt: Date },
): Promise<void> {
  await sql`
    -- name: employees.insert
    insert into employees (organization_id, id, team_id, name, email, created_at)
    values (
      ${row.organizationId}, ${row.id}, ${row.teamId}, ${row.name}, ${row.email}, ${row.createdAt}
    )
  `;
}

export async function employeeList(sql: Queryable, page: Page): Promise<readonly EmployeeRow[]> {
  return await sql<EmployeeRow[]>`
    -- name: employees.list
    ${employeesSeenBy(sql, page)}
    ${onPage(sql, page, sql`team_id`)}
  `;
}

export async function employeeUpdate(sql: Queryable, row: EmployeeValues): Promise<void> {
  await sql`
    -- name: employees.update
    update employees
    set name = ${row.name}, email = ${row.email}, team_id = ${row.teamId}
    where organization_id = ${row.organizationId} and id = ${row.id}
  `;
}

function employeesSeenBy(sql: Queryable, reader: Reader) {
  return sql`
    select id, name, email, team_id, version, created_at, archived_at
    from employees
    where organization_id = ${reader.organizationId}
      and (${reader.employeeIds}::text[] is null or id = any(${reader.employeeIds}::text[]))
  `;
}
