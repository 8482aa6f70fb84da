/** SQL of what a new budget or policy may be for. */
import type { Queryable } from "../database/client.ts";
import type { ScopeKind } from "../organizations/scopes.ts";

/** Whether a scope of this kind exists in the organization and is neither archived nor revoked. */
export async function scopeIsInUse(
  sql: Queryable,
  { organizationId, kind, id }: { organizationId: string; kind: ScopeKind; id: string },
): Promise<boolean> {
  const rows = await sql`
    -- name: scopes.is_in_use
    select from (
      select 'organization' as kind, id as organization_id, id, archived_at from organizations
      union all
      select 'branch', organization_id, id, archived_at from branches
      union all
      select 'team', organization_id, id, archived_at from teams
      union all
      select 'project', organization_id, id, archived_at from projects
      union all
      select 'employee', organization_id, id, archived_at from employees
      union all
      select
        case when parent_agent_id is null then 'agent' else 'subagent' end,
        organization_id, id, archived_at
      from agents
      union all
      select 'api_key', organization_id, id, revoked_at from api_keys
    ) as scopes
    where scopes.kind = ${kind}
      and scopes.organization_id = ${organizationId}
      and scopes.id = ${id}
      and scopes.archived_at is null
  `;
  return rows.length > 0;
}
