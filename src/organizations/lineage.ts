/** Reads where a key's actor stands in the hierarchy; what follows from it is in scopes.ts. */
import type { Queryable } from "../database/client.ts";
import type { Lineage } from "./scopes.ts";

/** An agent of an agent of … deeper than this is refused by the hierarchy's rules. */
const AGENT_DEPTH_MAX = 16;

type Actor = {
  organizationId: string;
  apiKeyId: string;
  employeeId: string | null;
  agentId: string | null;
  projectId: string | null;
};

type LineageRow = {
  agent_ids: string[];
  employee: { id: string; teamId: string | null; branchId: string | null } | null;
  owner_team: { id: string; branchId: string | null } | null;
  projects: { id: string; teamId: string | null; branchId: string | null }[];
};

/** The actor is an employee or an agent of that organization; others give an empty lineage. */
export async function readLineage(sql: Queryable, actor: Actor): Promise<Lineage> {
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
      (
        select
          jsonb_build_object(
            'id', e.id, 'teamId', e.team_id, 'branchId', t.branch_id
          )
        from employees e
        left join teams t on t.organization_id = e.organization_id and t.id = e.team_id
        where e.organization_id = ${actor.organizationId}
          and e.id = coalesce(${actor.employeeId}, (select owner_employee_id from root))
      ) as employee,
      (
        select jsonb_build_object('id', t.id, 'branchId', t.branch_id)
        from teams t
        where t.organization_id = ${actor.organizationId}
          and t.id = (select owner_team_id from root)
      ) as owner_team,
      coalesce((
        select
          jsonb_agg(
            jsonb_build_object(
              'id', p.id, 'teamId', p.team_id, 'branchId', coalesce(p.branch_id, t.branch_id)
            )
          )
        from projects p
        left join teams t on t.organization_id = p.organization_id and t.id = p.team_id
        where p.organization_id = ${actor.organizationId}
          and (p.id = ${actor.projectId} or p.id = (select owner_project_id from root))
      ), '[]') as projects
  `;
  return {
    organizationId: actor.organizationId,
    apiKeyId: actor.apiKeyId,
    agentIds: row.agent_ids,
    employee: row.employee,
    ownerTeam: row.owner_team,
    projects: row.projects,
  };
}
