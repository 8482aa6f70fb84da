/** SQL that changes memberships and the areas assigned to them. */
import type { Queryable } from "../database/client.ts";
import type { Role } from "./capability.ts";

export type Areas = { branchIds: readonly string[]; teamIds: readonly string[] };

export async function membershipInsert(
  sql: Queryable,
  row: {
    organizationId: string;
    id: string;
    userId: string;
    employeeId: string | null;
    createdAt: Date;
  },
): Promise<void> {
  await sql`
    -- name: memberships.insert
    insert into memberships (organization_id, id, user_id, employee_id, created_at)
    values (
      ${row.organizationId}, ${row.id}, ${row.userId}, ${row.employeeId}, ${row.createdAt}
    )
  `;
}

/**
 * Locks a membership together with that of the person who changes it and with those of all
 * org_admins, so that of two changes at once the second sees what the first has left. In id order,
 * as everywhere.
 */
export async function membershipLock(
  sql: Queryable,
  { organizationId, id, byUserId }: { organizationId: string; id: string; byUserId: string },
): Promise<void> {
  await sql`
    -- name: memberships.lock
    select m.id
    from memberships m
    where m.organization_id = ${organizationId}
      and (
        m.id = ${id}
        or m.user_id = ${byUserId}
        or exists (
          select from role_assignments r
          where r.organization_id = m.organization_id
            and r.membership_id = m.id
            and r.revoked_at is null
            and r.role = 'org_admin'
        )
      )
    order by m.id
    for update of m
  `;
}

/** The role that a user acts with. The row must be locked. */
export async function activeRoleOf(
  sql: Queryable,
  organizationId: string,
  userId: string,
): Promise<Role | null> {
  const [row] = await sql<{ role: Role }[]>`
    -- name: role_assignments.find_active
    select r.role
    from memberships m
    join role_assignments r
      on r.organization_id = m.organization_id
      and r.membership_id = m.id
      and r.revoked_at is null
    where m.organization_id = ${organizationId}
      and m.user_id = ${userId}
      and m.ended_at is null
      and m.suspended_at is null
  `;
  return row?.role ?? null;
}

/** Whether somebody else can still act as org_admin. The rows must be locked. */
export async function otherOrgAdminExists(
  sql: Queryable,
  organizationId: string,
  exceptMembershipId: string,
): Promise<boolean> {
  const rows = await sql`
    -- name: memberships.other_org_admin_exists
    select
    from memberships m
    join users u on u.id = m.user_id and u.disabled_at is null
    join role_assignments r
      on r.organization_id = m.organization_id
      and r.membership_id = m.id
      and r.revoked_at is null
      and r.role = 'org_admin'
    where m.organization_id = ${organizationId}
      and m.id <> ${exceptMembershipId}
      and m.ended_at is null
      and m.suspended_at is null
    limit 1
  `;
  return rows.length > 0;
}

/** Of the user, also one that ended. Locks it. */
export async function membershipLockOfUser(
  sql: Queryable,
  organizationId: string,
  userId: string,
): Promise<{ id: string; ended_at: Date | null } | null> {
  const [row] = await sql<{ id: string; ended_at: Date | null }[]>`
    -- name: memberships.lock_of_user
    select id, ended_at
    from memberships
    where organization_id = ${organizationId} and user_id = ${userId}
    for update
  `;
  return row ?? null;
}

/** Each write grows the version. */
export async function membershipUpdate(
  sql: Queryable,
  row: {
    organizationId: string;
    id: string;
    employeeId: string | null;
    suspendedAt: Date | null;
    endedAt: Date | null;
  },
): Promise<void> {
  await sql`
    -- name: memberships.update
    update memberships
    set
      employee_id = ${row.employeeId},
      suspended_at = ${row.suspendedAt},
      ended_at = ${row.endedAt}
    where organization_id = ${row.organizationId} and id = ${row.id}
  `;
}

export async function membershipAreasReplace(
  sql: Queryable,
  membership: { organizationId: string; id: string },
  areas: Areas,
): Promise<void> {
  const { organizationId, id } = membership;
  await sql`
    -- name: membership_areas.delete
    delete from membership_areas
    where organization_id = ${organizationId} and membership_id = ${id}
  `;
  await sql`
    -- name: membership_areas.insert
    insert into membership_areas (organization_id, membership_id, branch_id, team_id)
    select ${organizationId}, ${id}, branch_id, null
    from unnest(${[...areas.branchIds]}::text[]) as b(branch_id)
    union
    select ${organizationId}, ${id}, null, team_id
    from unnest(${[...areas.teamIds]}::text[]) as t(team_id)
  `;
}

/** Which of these are no branch or team of the organization that is in use. */
export async function unknownAreas(
  sql: Queryable,
  organizationId: string,
  areas: Areas,
): Promise<readonly string[]> {
  const rows = await sql<{ id: string }[]>`
    -- name: membership_areas.unknown
    select a.id
    from unnest(${[...areas.branchIds, ...areas.teamIds]}::text[]) as a(id)
    where not exists (
      select from branches b
      where b.organization_id = ${organizationId} and b.id = a.id and b.archived_at is null
    )
      and not exists (
        select from teams t
        where t.organization_id = ${organizationId} and t.id = a.id and t.archived_at is null
      )
  `;
  return rows.map(({ id }) => id);
}
