/** SQL of members: who somebody is in an organization, and the list of its people. */
import type { Queryable } from "../database/client.ts";
import type { Role } from "./capability.ts";

/** Who asks, as things stand now. */
export type CallerRow = {
  user_id: string;
  email: string;
  user_name: string;
  organization_id: string;
  organization_name: string;
  membership_id: string;
  employee_id: string | null;
  role: Role | null;
};

/** The employees in the branches and teams that are assigned to a manager. */
export async function areaEmployeeIds(
  sql: Queryable,
  organizationId: string,
  membershipId: string,
): Promise<readonly string[]> {
  const rows = await sql<{ id: string }[]>`
    -- name: membership_areas.employee_ids
    select distinct e.id
    from membership_areas a
    join teams t
      on t.organization_id = a.organization_id
      and (t.id = a.team_id or t.branch_id = a.branch_id)
    join employees e on e.organization_id = t.organization_id and e.team_id = t.id
    where a.organization_id = ${organizationId} and a.membership_id = ${membershipId}
  `;
  return rows.map(({ id }) => id);
}

/**
 * Who has this e-mail, in the named organization or in that of the oldest membership: for people
 * who proved elsewhere who they are.
 */
export async function callerFindByEmail(
  sql: Queryable,
  email: string,
  organizationId: string | null,
): Promise<CallerRow | null> {
  const [row] = await sql<CallerRow[]>`
    -- name: members.find_by_email
    select
      u.id as user_id, u.email, u.name as user_name, o.id as organization_id,
      o.name as organization_name, m.id as membership_id, m.employee_id, r.role
    from users u
    join memberships m on m.user_id = u.id and m.ended_at is null and m.suspended_at is null
    join organizations o on o.id = m.organization_id and o.archived_at is null
    left join role_assignments r
      on r.organization_id = m.organization_id
      and r.membership_id = m.id
      and r.revoked_at is null
    where u.email = ${email}
      and u.disabled_at is null
      and (${organizationId}::text is null or m.organization_id = ${organizationId})
    order by m.created_at, m.id
    limit 1
  `;
  return row ?? null;
}

/**
 * Who a session belongs to, as things stand now: a role that was changed, a membership that ended
 * or is suspended and a user who was disabled count from the next request on.
 */
export async function callerFindBySession(
  sql: Queryable,
  tokenHash: Uint8Array,
  now: Date,
): Promise<CallerRow | null> {
  const [row] = await sql<CallerRow[]>`
    -- name: members.find_by_session
    select
      u.id as user_id, u.email, u.name as user_name, o.id as organization_id,
      o.name as organization_name, m.id as membership_id, m.employee_id, r.role
    from sessions s
    join users u on u.id = s.user_id and u.disabled_at is null
    join organizations o on o.id = s.organization_id and o.archived_at is null
    join memberships m
      on m.organization_id = s.organization_id
      and m.user_id = s.user_id
      and m.ended_at is null
      and m.suspended_at is null
    left join role_assignments r
      on r.organization_id = m.organization_id
      and r.membership_id = m.id
      and r.revoked_at is null
    where s.token_hash = ${tokenHash}
      and s.revoked_at is null
      and s.expires_at > ${now}
  `;
  return row ?? null;
}

/** The organizations that a person may work in, oldest membership first. */
export async function organizationListOfUser(
  sql: Queryable,
  userId: string,
  limit: number,
): Promise<readonly { id: string; name: string; role: Role | null }[]> {
  return await sql<{ id: string; name: string; role: Role | null }[]>`
    -- name: organizations.list_of_user
    select o.id, o.name, r.role
    from memberships m
    join organizations o on o.id = m.organization_id and o.archived_at is null
    left join role_assignments r
      on r.organization_id = m.organization_id
      and r.membership_id = m.id
      and r.revoked_at is null
    where m.user_id = ${userId} and m.ended_at is null and m.suspended_at is null
    order by m.created_at, m.id
    limit ${limit}
  `;
}

/** One of an organization's people. */
export type MembershipRow = {
  id: string;
  user_id: string;
  email: string;
  user_name: string;
  employee_id: string | null;
  role: Role | null;
  branch_ids: readonly string[];
  team_ids: readonly string[];
  created_at: Date;
  suspended_at: Date | null;
  version: number;
};

/** Members `m`, each with its role and areas. */
function membersWithAreas(sql: Queryable) {
  return sql`
    select
      m.id, m.user_id, u.email, u.name as user_name, m.employee_id, r.role,
      a.branch_ids, a.team_ids,
      m.created_at, m.suspended_at, m.version
    from memberships m
    join users u on u.id = m.user_id
    left join role_assignments r
      on r.organization_id = m.organization_id
      and r.membership_id = m.id
      and r.revoked_at is null
    cross join lateral (
      select
        coalesce(array_agg(branch_id order by branch_id) filter (where branch_id is not null), '{}')
          as branch_ids,
        coalesce(array_agg(team_id order by team_id) filter (where team_id is not null), '{}')
          as team_ids
      from membership_areas
      where organization_id = m.organization_id and membership_id = m.id
    ) a
  `;
}

export async function membershipFind(
  sql: Queryable,
  membership: { organizationId: string; id: string },
): Promise<MembershipRow | null> {
  const { organizationId, id } = membership;
  const [row] = await sql<MembershipRow[]>`
    -- name: memberships.find
    ${membersWithAreas(sql)}
    where m.organization_id = ${organizationId} and m.id = ${id} and m.ended_at is null
  `;
  return row ?? null;
}

export async function membershipList(
  sql: Queryable,
  page: { organizationId: string; beforeId: string; limit: number },
): Promise<readonly MembershipRow[]> {
  return await sql<MembershipRow[]>`
    -- name: memberships.list
    ${membersWithAreas(sql)}
    where m.organization_id = ${page.organizationId}
      and m.ended_at is null
      and m.id < ${page.beforeId}
    order by m.id desc
    limit ${page.limit}
  `;
}
