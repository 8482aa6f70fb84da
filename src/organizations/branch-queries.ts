/** SQL of branches. */
import type { Queryable } from "../database/client.ts";
import { onPage, type Page, type PlaceRow, type Reader } from "./place-queries.ts";

export type BranchRow = PlaceRow;

export async function branchFind(
  sql: Queryable,
  reader: Reader,
  id: string,
): Promise<BranchRow | null> {
  const [row] = await sql<BranchRow[]>`
    -- name: branches.find
    ${branchesSeenBy(sql, reader)}
    and id = ${id}
  `;
  return row ?? null;
}

export async function branchInsert(
  sql: Queryable,
  row: { organizationId: string; id: string; name: string; createdAt: Date },
): Promise<void> {
  await sql`
    -- name: branches.insert
    insert into branches (organization_id, id, name, created_at)
    values (${row.organizationId}, ${row.id}, ${row.name}, ${row.createdAt})
  `;
}

export async function branchList(sql: Queryable, page: Page): Promise<readonly BranchRow[]> {
  return await sql<BranchRow[]>`
    -- name: branches.list
    ${branchesSeenBy(sql, page)}
    ${onPage(sql, page, sql`null`)}
  `;
}

export async function branchUpdate(
  sql: Queryable,
  row: { organizationId: string; id: string; name: string },
): Promise<void> {
  await sql`
    -- name: branches.update
    update branches
    set name = ${row.name}
    where organization_id = ${row.organizationId} and id = ${row.id}
  `;
}

function branchesSeenBy(sql: Queryable, reader: Reader) {
  return sql`
    select b.id, b.name, b.version, b.created_at, b.archived_at
    from branches b
    where b.organization_id = ${reader.organizationId}
      and (
        ${reader.employeeIds}::text[] is null
        or exists (
          select from employees e
          join teams t on t.organization_id = e.organization_id and t.id = e.team_id
          where e.organization_id = b.organization_id
            and t.branch_id = b.id
            and e.id = any(${reader.employeeIds}::text[])
        )
      )
  `;
}
