/** SQL of invitations. */
import type { Queryable } from "../database/client.ts";
import type { Role } from "./capability.ts";

export type InvitationRow = {
  id: string;
  email: string;
  role: Role;
  employee_id: string | null;
  invited_by_user_id: string;
  created_at: Date;
  expires_at: Date;
  accepted_at: Date | null;
  revoked_at: Date | null;
  version: number;
};

type InvitationKey = { organizationId: string; id: string };

/** Answers whether it was still open; of two calls at once one gets true. */
export async function invitationAccept(
  sql: Queryable,
  invitation: InvitationKey & { acceptedAt: Date },
): Promise<boolean> {
  const accepted = await sql`
    -- name: invitations.accept
    update invitations
    set accepted_at = ${invitation.acceptedAt}
    where organization_id = ${invitation.organizationId}
      and id = ${invitation.id}
      and accepted_at is null
      and revoked_at is null
      and expires_at > ${invitation.acceptedAt}
    returning id
  `;
  return accepted.length > 0;
}

export async function invitationFind(
  sql: Queryable,
  { organizationId, id }: InvitationKey,
): Promise<InvitationRow | null> {
  const [row] = await sql<InvitationRow[]>`
    -- name: invitations.find
    select
      id, email, role, employee_id, invited_by_user_id, created_at, expires_at, accepted_at,
      revoked_at, version
    from invitations
    where organization_id = ${organizationId} and id = ${id}
  `;
  return row ?? null;
}

/** An open invitation, with the role that the person who sent it has now. */
export type PresentedInvitation = {
  organization_id: string;
  email: string;
  role: Role;
  employee_id: string | null;
  secret_hmac: Uint8Array;
  inviter_role: Role | null;
};

export async function invitationFindOpen(
  sql: Queryable,
  id: string,
  now: Date,
): Promise<PresentedInvitation | null> {
  const [row] = await sql<PresentedInvitation[]>`
    -- name: invitations.find_open
    select
      i.organization_id, i.email, i.role, i.employee_id, i.secret_hmac, r.role as inviter_role
    from invitations i
    join organizations o on o.id = i.organization_id and o.archived_at is null
    left join memberships m
      on m.organization_id = i.organization_id
      and m.user_id = i.invited_by_user_id
      and m.ended_at is null
      and m.suspended_at is null
    left join role_assignments r
      on r.organization_id = m.organization_id
      and r.membership_id = m.id
      and r.revoked_at is null
    where i.id = ${id}
      and i.accepted_at is null
      and i.revoked_at is null
      and i.expires_at > ${now}
  `;
  return row ?? null;
}

export async function invitationInsert(
  sql: Queryable,
  row: InvitationKey & {
    email: string;
    role: Role;
    employeeId: string | null;
    secretHmac: Uint8Array;
    invitedByUserId: string;
    createdAt: Date;
    expiresAt: Date;
  },
): Promise<void> {
  await sql`
    -- name: invitations.insert
    insert into invitations (
      organization_id, id, email, role, employee_id, secret_hmac, invited_by_user_id, created_at,
      expires_at
    )
    values (
      ${row.organizationId}, ${row.id}, ${row.email}, ${row.role}, ${row.employeeId},
      ${row.secretHmac}, ${row.invitedByUserId}, ${row.createdAt}, ${row.expiresAt}
    )
  `;
}

export async function invitationList(
  sql: Queryable,
  page: { organizationId: string; beforeId: string; limit: number },
): Promise<readonly InvitationRow[]> {
  return await sql<InvitationRow[]>`
    -- name: invitations.list
    select
      id, email, role, employee_id, invited_by_user_id, created_at, expires_at, accepted_at,
      revoked_at, version
    from invitations
    where organization_id = ${page.organizationId} and id < ${page.beforeId}
    order by id desc
    limit ${page.limit}
  `;
}

export async function invitationLock(
  sql: Queryable,
  { organizationId, id }: InvitationKey,
): Promise<void> {
  await sql`
    -- name: invitations.lock
    select id from invitations
    where organization_id = ${organizationId} and id = ${id}
    for update
  `;
}

export async function invitationRevoke(
  sql: Queryable,
  invitation: InvitationKey & { revokedAt: Date },
): Promise<void> {
  await sql`
    -- name: invitations.revoke
    update invitations
    set revoked_at = ${invitation.revokedAt}
    where organization_id = ${invitation.organizationId}
      and id = ${invitation.id}
      and accepted_at is null
      and revoked_at is null
  `;
}

/** Open invitations of an e-mail, the expired ones too. Locks them. */
export async function invitationLockOpen(
  sql: Queryable,
  organizationId: string,
  email: string,
): Promise<readonly { id: string; role: Role }[]> {
  return await sql<{ id: string; role: Role }[]>`
    -- name: invitations.lock_open
    select id, role
    from invitations
    where organization_id = ${organizationId}
      and email = ${email}
      and accepted_at is null
      and revoked_at is null
    order by id
    for update
  `;
}
