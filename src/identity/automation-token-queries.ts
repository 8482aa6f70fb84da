/** SQL of service tokens. */
import type { Queryable } from "../database/client.ts";
import type { AutomationRole } from "./capability.ts";

export type ServiceTokenRow = {
  id: string;
  name: string;
  role: AutomationRole;
  created_by_user_id: string;
  created_at: Date;
  expires_at: Date;
  revoked_at: Date | null;
  version: number;
};

type ServiceTokenKey = { organizationId: string; id: string };

export async function serviceTokenFind(
  sql: Queryable,
  { organizationId, id }: ServiceTokenKey,
): Promise<ServiceTokenRow | null> {
  const [row] = await sql<ServiceTokenRow[]>`
    -- name: service_tokens.find
    select id, name, role, created_by_user_id, created_at, expires_at, revoked_at, version
    from service_tokens
    where organization_id = ${organizationId} and id = ${id}
  `;
  return row ?? null;
}

/** A token that is in force, as it is presented. */
export type PresentedServiceToken = {
  id: string;
  role: AutomationRole;
  secret_hmac: Uint8Array;
  organization_id: string;
  organization_name: string;
  user_id: string;
  email: string;
  user_name: string;
};

export async function serviceTokenFindActive(
  sql: Queryable,
  id: string,
  now: Date,
): Promise<PresentedServiceToken | null> {
  const [row] = await sql<PresentedServiceToken[]>`
    -- name: service_tokens.find_active
    select
      t.id, t.role, t.secret_hmac, o.id as organization_id, o.name as organization_name,
      u.id as user_id, u.email, u.name as user_name
    from service_tokens t
    join organizations o on o.id = t.organization_id and o.archived_at is null
    join users u on u.id = t.created_by_user_id
    where t.id = ${id} and t.revoked_at is null and t.expires_at > ${now}
  `;
  return row ?? null;
}

export async function serviceTokenInsert(
  sql: Queryable,
  row: ServiceTokenKey & {
    name: string;
    role: AutomationRole;
    secretHmac: Uint8Array;
    createdByUserId: string;
    createdAt: Date;
    expiresAt: Date;
  },
): Promise<void> {
  await sql`
    -- name: service_tokens.insert
    insert into service_tokens (
      organization_id, id, name, role, secret_hmac, created_by_user_id, created_at, expires_at
    )
    values (
      ${row.organizationId}, ${row.id}, ${row.name}, ${row.role}, ${row.secretHmac},
      ${row.createdByUserId}, ${row.createdAt}, ${row.expiresAt}
    )
  `;
}

export async function serviceTokenList(
  sql: Queryable,
  page: { organizationId: string; beforeId: string; limit: number },
): Promise<readonly ServiceTokenRow[]> {
  return await sql<ServiceTokenRow[]>`
    -- name: service_tokens.list
    select id, name, role, created_by_user_id, created_at, expires_at, revoked_at, version
    from service_tokens
    where organization_id = ${page.organizationId} and id < ${page.beforeId}
    order by id desc
    limit ${page.limit}
  `;
}

export async function serviceTokenLock(
  sql: Queryable,
  { organizationId, id }: ServiceTokenKey,
): Promise<void> {
  await sql`
    -- name: service_tokens.lock
    select id from service_tokens
    where organization_id = ${organizationId} and id = ${id}
    for update
  `;
}

export async function serviceTokenRevoke(
  sql: Queryable,
  token: ServiceTokenKey & { revokedAt: Date },
): Promise<void> {
  await sql`
    -- name: service_tokens.revoke
    update service_tokens
    set revoked_at = ${token.revokedAt}
    where organization_id = ${token.organizationId}
      and id = ${token.id}
      and revoked_at is null
  `;
}
