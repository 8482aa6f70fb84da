/** SQL of organizations, and of what keys are made for. Each kind of place has its own file. */
import type { Queryable } from "../database/client.ts";
import { projectFind } from "./project-queries.ts";

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

export type OrganizationRow = {
  id: string;
  name: string;
  completion_tokens_default: number;
  version: number;
  created_at: Date;
};

export async function organizationFind(
  sql: Queryable,
  id: string,
): Promise<OrganizationRow | null> {
  const [row] = await sql<OrganizationRow[]>`
    -- name: organizations.find
    select id, name, completion_tokens_default, version, created_at
    from organizations
    where id = ${id} and archived_at is null
  `;
  return row ?? null;
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

export async function organizationUpdate(
  sql: Queryable,
  row: { id: string; name: string; completionTokensDefault: number },
): Promise<void> {
  await sql`
    -- name: organizations.update
    update organizations
    set name = ${row.name}, completion_tokens_default = ${row.completionTokensDefault}
    where id = ${row.id}
  `;
}

/** Whether the project is active and one that these employees may work on. */
export async function projectExists(
  sql: Queryable,
  organizationId: string,
  id: string,
  employeeIds: readonly string[] | null,
): Promise<boolean> {
  const project = await projectFind(sql, { organizationId, employeeIds }, id);
  return project?.archived_at === null;
}

export async function providerAccountInsert(
  sql: Queryable,
  row: {
    organizationId: string;
    id: string;
    provider: string;
    name: string;
    baseUrl: string;
    secretName: string;
    createdAt: Date;
  },
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
