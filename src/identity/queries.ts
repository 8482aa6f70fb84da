/** SQL of users, memberships, roles and sessions. */
import type { Queryable } from "../database/client.ts";
import type { Role } from "./capability.ts";

export type MemberRow = {
  user_id: string;
  email: string;
  user_name: string;
  organization_id: string;
  organization_name: string;
  employee_id: string | null;
  role: Role | null;
};

/**
 * Who a session belongs to, as things stand now: a role that was changed, a membership that ended
 * and a user who was disabled count from the next request on.
 */
export async function memberFindBySession(
  sql: Queryable,
  tokenHash: Uint8Array,
  now: Date,
): Promise<MemberRow | null> {
  const [row] = await sql<MemberRow[]>`
    -- name: members.find_by_session
    select
      u.id as user_id, u.email, u.name as user_name, o.id as organization_id,
      o.name as organization_name, m.employee_id, r.role
    from sessions s
    join users u on u.id = s.user_id and u.disabled_at is null
    join organizations o on o.id = s.organization_id and o.archived_at is null
    join memberships m
      on m.organization_id = s.organization_id and m.user_id = s.user_id and m.ended_at is null
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

export async function roleAssignmentInsert(
  sql: Queryable,
  row: {
    organizationId: string;
    id: string;
    membershipId: string;
    role: Role;
    grantedByUserId: string | null;
    grantedAt: Date;
  },
): Promise<void> {
  await sql`
    -- name: role_assignments.insert
    insert into role_assignments (
      organization_id, id, membership_id, role, granted_by_user_id, granted_at
    )
    values (
      ${row.organizationId}, ${row.id}, ${row.membershipId}, ${row.role}, ${row.grantedByUserId},
      ${row.grantedAt}
    )
  `;
}

/** Removes a user's sessions that nobody can use any more, so that the table stays small. */
export async function sessionDeleteEnded(sql: Queryable, userId: string, now: Date): Promise<void> {
  await sql`
    -- name: sessions.delete_ended
    delete from sessions
    where user_id = ${userId} and (expires_at <= ${now} or revoked_at is not null)
  `;
}

/**
 * Opens a session in the user's oldest membership, or in the named organization. Answers false when
 * there is no such membership.
 */
export async function sessionInsert(
  sql: Queryable,
  row: {
    tokenHash: Uint8Array;
    userId: string;
    organizationId: string | null;
    createdAt: Date;
    expiresAt: Date;
  },
): Promise<boolean> {
  const inserted = await sql`
    -- name: sessions.insert
    insert into sessions (token_hash, user_id, organization_id, created_at, expires_at)
    select ${row.tokenHash}, m.user_id, m.organization_id, ${row.createdAt}, ${row.expiresAt}
    from memberships m
    join organizations o on o.id = m.organization_id and o.archived_at is null
    where m.user_id = ${row.userId}
      and m.ended_at is null
      and (${row.organizationId}::text is null or m.organization_id = ${row.organizationId})
    order by m.created_at, m.id
    limit 1
    returning organization_id
  `;
  return inserted.length > 0;
}

export async function sessionRevoke(
  sql: Queryable,
  tokenHash: Uint8Array,
  now: Date,
): Promise<void> {
  await sql`
    -- name: sessions.revoke
    update sessions
    set revoked_at = ${now}
    where token_hash = ${tokenHash} and revoked_at is null
  `;
}

export async function userFindByEmail(
  sql: Queryable,
  email: string,
): Promise<{ id: string; password_hash: string | null } | null> {
  const [row] = await sql<{ id: string; password_hash: string | null }[]>`
    -- name: users.find_by_email
    select id, password_hash
    from users
    where email = ${email} and disabled_at is null
  `;
  return row ?? null;
}

export async function userInsert(
  sql: Queryable,
  row: { id: string; email: string; name: string; passwordHash: string; createdAt: Date },
): Promise<void> {
  await sql`
    -- name: users.insert
    insert into users (id, email, name, password_hash, created_at)
    values (${row.id}, ${row.email}, ${row.name}, ${row.passwordHash}, ${row.createdAt})
  `;
}
