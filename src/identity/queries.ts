/** SQL of users, roles, sessions and founding. That of members is in member-queries.ts. */
import type { Queryable } from "../database/client.ts";
import type { Role } from "./capability.ts";

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
      and m.suspended_at is null
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

/** Ends all of a user's sessions, or those in one organization. */
export async function sessionRevokeAll(
  sql: Queryable,
  user: { userId: string; organizationId: string | null; now: Date },
): Promise<void> {
  await sql`
    -- name: sessions.revoke_all
    update sessions
    set revoked_at = ${user.now}
    where user_id = ${user.userId}
      and revoked_at is null
      and (${user.organizationId}::text is null or organization_id = ${user.organizationId})
  `;
}

export async function roleAssignmentRevoke(
  sql: Queryable,
  row: { organizationId: string; membershipId: string; revokedAt: Date },
): Promise<void> {
  await sql`
    -- name: role_assignments.revoke
    update role_assignments
    set revoked_at = ${row.revokedAt}
    where organization_id = ${row.organizationId}
      and membership_id = ${row.membershipId}
      and revoked_at is null
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
  row: {
    id: string;
    email: string;
    name: string;
    /** Null: signs in elsewhere only. */
    passwordHash: string | null;
    createdAt: Date;
  },
): Promise<void> {
  await sql`
    -- name: users.insert
    insert into users (id, email, name, password_hash, created_at)
    values (${row.id}, ${row.email}, ${row.name}, ${row.passwordHash}, ${row.createdAt})
  `;
}

export async function userSetPassword(
  sql: Queryable,
  user: { id: string; passwordHash: string },
): Promise<void> {
  await sql`
    -- name: users.set_password
    update users set password_hash = ${user.passwordHash} where id = ${user.id}
  `;
}

export async function anyOrganization(sql: Queryable): Promise<boolean> {
  const rows = await sql`
    -- name: organizations.any
    select from organizations limit 1
  `;
  return rows.length > 0;
}

/** One founding at a time, until the transaction ends. */
export async function foundingLock(sql: Queryable): Promise<void> {
  await sql`
    -- name: organizations.founding_lock
    select pg_advisory_xact_lock(hashtext('spendra.found_organization'))
  `;
}

/** The organizations of a name; with the user's id where the e-mail's user is org_admin. */
export async function organizationsLed(
  sql: Queryable,
  name: string,
  email: string,
): Promise<readonly { id: string; user_id: string | null }[]> {
  return await sql<{ id: string; user_id: string | null }[]>`
    -- name: organizations.led
    select o.id, min(u.id) as user_id
    from organizations o
    left join memberships m on m.organization_id = o.id and m.ended_at is null
    left join role_assignments r
      on r.organization_id = m.organization_id
      and r.membership_id = m.id
      and r.revoked_at is null
      and r.role = 'org_admin'
    left join users u on u.id = m.user_id and u.email = ${email} and r.id is not null
    where o.name = ${name} and o.archived_at is null
    group by o.id
    order by o.id
    limit 100
  `;
}
