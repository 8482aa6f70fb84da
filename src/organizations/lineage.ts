/** Reads where a key's actor stands in the hierarchy; what follows from it is in scopes.ts. */
import type { Queryable } from "../database/client.ts";
import type { Lineage } from "./scopes.ts";

/** An agent of an agent of … deeper than this is refused by the hierarchy's rules. */
export const AGENT_DEPTH_MAX = 16;

type Actor = {
  organizationId: string;
  apiKeyId: string;
  employeeId: string | null;
  agentId: string | null;
  projectId: string | null;
};

/** Where an actor stands, and what on the way up is archived: then the key opens nothing. */
export type PresentLineage = Lineage & { readonly archived: "actor" | "project" | null };

type PlacedRow = { id: string; branchId: string | null; isArchived: boolean };

type LineageRow = {
  agent_ids: string[];
  has_root: boolean;
  is_agent_archived: boolean;
  employee: (PlacedRow & { teamId: string | null }) | null;
  owner_team: PlacedRow | null;
  projects: (PlacedRow & { teamId: string | null })[];
};

/**
 * The actor is an employee or an agent of that organization; others give an empty lineage. Throws
 * when an agent has no root within the depth: a scope that is not found would be a cap not applied.
 */
export async function readLineage(sql: Queryable, actor: Actor): Promise<PresentLineage> {
  const row = await lineageRead(sql, actor);
  if (row.agent_ids.length > 0 && !row.has_root) {
    throw new Error(`the agent ${actor.agentId} has no root within ${AGENT_DEPTH_MAX} levels`);
  }
  return {
    organizationId: actor.organizationId,
    apiKeyId: actor.apiKeyId,
    agentIds: row.agent_ids,
    employee: row.employee,
    ownerTeam: row.owner_team,
    projects: row.projects,
    archived: archivedOf(row, actor),
  };
}

function archivedOf(row: LineageRow, actor: Actor): PresentLineage["archived"] {
  const ownerProjects = row.projects.filter(({ id }) => id !== actor.projectId);
  const above = [row.employee, row.owner_team, ...ownerProjects];
  if (row.is_agent_archived || above.some((place) => place?.isArchived === true)) {
    return "actor";
  }
  return row.projects.some(({ isArchived }) => isArchived) ? "project" : null;
}

async function lineageRead(sql: Queryable, actor: Actor): Promise<LineageRow> {
  const [row] = await sql<[LineageRow]>`
    -- name: lineage.read
    with recursive chain as (
      select a.*, 1 as depth
      from agents a
      where a.organization_id = ${actor.organizationId} and a.id = ${actor.agentId}
      union all
      select p.*, c.depth + 1
      from chain c
      join agents p on p.organization_id = c.organization_id and p.id = c.parent_agent_id
      where c.depth < ${AGENT_DEPTH_MAX}
    ),
    root as (
      select * from chain where parent_agent_id is null
    )
    select
      coalesce((select array_agg(id order by depth) from chain), '{}') as agent_ids,
      exists (select from root) as has_root,
      exists (select from chain where archived_at is not null) as is_agent_archived,
      (
        select
          jsonb_build_object(
            'id', e.id, 'teamId', e.team_id, 'branchId', t.branch_id,
            'isArchived', num_nonnulls(e.archived_at, t.archived_at, b.archived_at) > 0
          )
        from employees e
        left join teams t on t.organization_id = e.organization_id and t.id = e.team_id
        left join branches b on b.organization_id = t.organization_id and b.id = t.branch_id
        where e.organization_id = ${actor.organizationId}
          and e.id = coalesce(${actor.employeeId}, (select owner_employee_id from root))
      ) as employee,
      (
        select
          jsonb_build_object(
            'id', t.id, 'branchId', t.branch_id,
            'isArchived', num_nonnulls(t.archived_at, b.archived_at) > 0
          )
        from teams t
        left join branches b on b.organization_id = t.organization_id and b.id = t.branch_id
        where t.organization_id = ${actor.organizationId}
          and t.id = (select owner_team_id from root)
      ) as owner_team,
      coalesce((
        select
          jsonb_agg(
            jsonb_build_object(
              'id', p.id, 'teamId', p.team_id, 'branchId', coalesce(p.branch_id, t.branch_id),
              'isArchived', num_nonnulls(p.archived_at, t.archived_at, b.archived_at) > 0
            )
          )
        from projects p
        left join teams t on t.organization_id = p.organization_id and t.id = p.team_id
        left join branches b
          on b.organization_id = p.organization_id
          and b.id = coalesce(p.branch_id, t.branch_id)
        where p.organization_id = ${actor.organizationId}
          and (p.id = ${actor.projectId} or p.id = (select owner_project_id from root))
      ), '[]') as projects
  `;
  return row;
}
