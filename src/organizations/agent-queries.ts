/** SQL of agents and subagents. */
import type { Queryable } from "../database/client.ts";
import { onPage, type Page, type PlaceRow, type Reader } from "./place-queries.ts";

export const OWNER_KINDS = ["employee", "team", "project", "agent"] as const;

/** An agent that is owned by an agent is a subagent. */
export type AgentOwner = { kind: (typeof OWNER_KINDS)[number]; id: string };

export type AgentRow = PlaceRow & { owner_kind: AgentOwner["kind"]; owner_id: string };

type AgentValues = { organizationId: string; id: string; name: string; owner: AgentOwner };

export async function agentFind(
  sql: Queryable,
  reader: Reader,
  id: string,
): Promise<AgentRow | null> {
  const [row] = await sql<AgentRow[]>`
    -- name: agents.find
    ${agentsSeenBy(sql, reader)}
    and id = ${id}
  `;
  return row ?? null;
}

export async function agentInsert(
  sql: Queryable,
  row: AgentValues & { createdAt: Date },
): Promise<void> {
  const { owner } = row;
  await sql`
    -- name: agents.insert
    insert into agents (
      organization_id, id, owner_employee_id, owner_team_id, owner_project_id, parent_agent_id,
      name, created_at
    )
    values (
      ${row.organizationId}, ${row.id}, ${idOf(owner, "employee")}, ${idOf(owner, "team")},
      ${idOf(owner, "project")}, ${idOf(owner, "agent")}, ${row.name}, ${row.createdAt}
    )
  `;
}

export async function agentList(sql: Queryable, page: Page): Promise<readonly AgentRow[]> {
  return await sql<AgentRow[]>`
    -- name: agents.list
    ${agentsSeenBy(sql, page)}
    ${onPage(sql, page, sql`owner_employee_id, owner_team_id, owner_project_id, parent_agent_id`)}
  `;
}

export async function agentUpdate(sql: Queryable, row: AgentValues): Promise<void> {
  const { owner } = row;
  await sql`
    -- name: agents.update
    update agents
    set
      name = ${row.name},
      owner_employee_id = ${idOf(owner, "employee")},
      owner_team_id = ${idOf(owner, "team")},
      owner_project_id = ${idOf(owner, "project")},
      parent_agent_id = ${idOf(owner, "agent")}
    where organization_id = ${row.organizationId} and id = ${row.id}
  `;
}

/** The agent and everything above it, up to its root agent; at most `depthMax` of them. */
export async function agentAncestorIds(
  sql: Queryable,
  agent: { organizationId: string; id: string },
  depthMax: number,
): Promise<readonly string[]> {
  const rows = await sql<{ id: string }[]>`
    -- name: agents.ancestor_ids
    with recursive chain as (
      select a.organization_id, a.id, a.parent_agent_id, 1 as depth
      from agents a
      where a.organization_id = ${agent.organizationId} and a.id = ${agent.id}
      union all
      select p.organization_id, p.id, p.parent_agent_id, c.depth + 1
      from chain c
      join agents p on p.organization_id = c.organization_id and p.id = c.parent_agent_id
      where c.depth < ${depthMax}
    )
    select id from chain order by depth
  `;
  return rows.map(({ id }) => id);
}

/** How many levels an agent and its active subagents are: 1 without any. At most `levelsMax`. */
export async function agentLevels(
  sql: Queryable,
  agent: { organizationId: string; id: string },
  levelsMax: number,
): Promise<number> {
  const [row] = await sql<[{ levels: number }]>`
    -- name: agents.levels
    with recursive tree as (
      select a.organization_id, a.id, 1 as level
      from agents a
      where a.organization_id = ${agent.organizationId} and a.id = ${agent.id}
      union all
      select a.organization_id, a.id, t.level + 1
      from tree t
      join agents a on a.organization_id = t.organization_id and a.parent_agent_id = t.id
      where t.level < ${levelsMax} and a.archived_at is null
    )
    select coalesce(max(level), 0) as levels from tree
  `;
  return row.levels;
}

function agentsSeenBy(sql: Queryable, reader: Reader) {
  return sql`
    select
      id, name, version, created_at, archived_at,
      case
        when owner_employee_id is not null then 'employee'
        when owner_team_id is not null then 'team'
        when owner_project_id is not null then 'project'
        else 'agent'
      end as owner_kind,
      coalesce(owner_employee_id, owner_team_id, owner_project_id, parent_agent_id) as owner_id
    from agents
    where organization_id = ${reader.organizationId}
      and (
        ${reader.employeeIds}::text[] is null
        or id in (
          with recursive own as (
            select a.id
            from agents a
            where a.organization_id = ${reader.organizationId}
              and a.owner_employee_id = any(${reader.employeeIds}::text[])
            union
            select a.id
            from agents a
            join own o on o.id = a.parent_agent_id
            where a.organization_id = ${reader.organizationId}
          )
          select id from own
        )
      )
  `;
}

function idOf(owner: AgentOwner, kind: AgentOwner["kind"]): string | null {
  return owner.kind === kind ? owner.id : null;
}
