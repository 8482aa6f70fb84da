/** SQL of API keys. `employeeIds` are the employees whose keys the reader may see, null for all. */
import type { Queryable } from "../database/client.ts";
import type { Authority } from "./authority.ts";
import type { TokenKind } from "./token.ts";

export type ApiKeyRow = {
  id: string;
  name: string;
  employee_id: string | null;
  agent_id: string | null;
  actor_name: string;
  project_id: string | null;
  environment: Environment;
  token_kind: TokenKind;
  allowed_providers: string[];
  allowed_models: string[];
  allowed_tools: string[];
  reservation_max_nano_usd: bigint | null;
  is_active: boolean;
  created_at: Date;
  expires_at: Date | null;
  revoked_at: Date | null;
};

export type Environment = "production" | "staging" | "development";

export async function apiKeyFind(
  sql: Queryable,
  key: { organizationId: string; id: string; employeeIds: readonly string[] | null },
): Promise<ApiKeyRow | null> {
  const [row] = await sql<ApiKeyRow[]>`
    -- name: api_keys.find
    select
      k.id, k.name, k.employee_id, k.agent_id, coalesce(e.name, a.name) as actor_name,
      k.project_id, k.environment, k.token_kind, k.allowed_providers, k.allowed_models,
      k.allowed_tools, k.reservation_max_nano_usd, k.is_active, k.created_at, k.expires_at,
      k.revoked_at
    from api_keys k
    left join employees e on e.organization_id = k.organization_id and e.id = k.employee_id
    left join agents a on a.organization_id = k.organization_id and a.id = k.agent_id
    where k.organization_id = ${key.organizationId}
      and k.id = ${key.id}
      and (${key.employeeIds}::text[] is null or k.employee_id = any(${key.employeeIds}::text[]))
  `;
  return row ?? null;
}

export async function apiKeyInsert(
  sql: Queryable,
  row: {
    organizationId: string;
    id: string;
    name: string;
    employeeId: string | null;
    agentId: string | null;
    projectId: string | null;
    environment: Environment;
    tokenKind: TokenKind;
    secretHmac: Uint8Array;
    allowedProviders: readonly string[];
    allowedModels: readonly string[];
    allowedTools: readonly string[];
    reservationMaxNanoUsd: bigint | null;
    createdAt: Date;
    createdByUserId: string | null;
    expiresAt: Date | null;
  },
): Promise<void> {
  await sql`
    -- name: api_keys.insert
    insert into api_keys (
      organization_id, id, name, employee_id, agent_id, project_id, environment, token_kind,
      secret_hmac,
      allowed_providers, allowed_models, allowed_tools, reservation_max_nano_usd,
      created_at, created_by_user_id, expires_at
    )
    values (
      ${row.organizationId}, ${row.id}, ${row.name}, ${row.employeeId}, ${row.agentId},
      ${row.projectId}, ${row.environment}, ${row.tokenKind},
      ${row.secretHmac}, ${[...row.allowedProviders]},
      ${[...row.allowedModels]}, ${[...row.allowedTools]}, ${row.reservationMaxNanoUsd},
      ${row.createdAt}, ${row.createdByUserId}, ${row.expiresAt}
    )
  `;
}

export async function apiKeyList(
  sql: Queryable,
  page: {
    organizationId: string;
    employeeIds: readonly string[] | null;
    beforeId: string;
    limit: number;
  },
): Promise<readonly ApiKeyRow[]> {
  return await sql<ApiKeyRow[]>`
    -- name: api_keys.list
    select
      k.id, k.name, k.employee_id, k.agent_id, coalesce(e.name, a.name) as actor_name,
      k.project_id, k.environment, k.token_kind, k.allowed_providers, k.allowed_models,
      k.allowed_tools, k.reservation_max_nano_usd, k.is_active, k.created_at, k.expires_at,
      k.revoked_at
    from api_keys k
    left join employees e on e.organization_id = k.organization_id and e.id = k.employee_id
    left join agents a on a.organization_id = k.organization_id and a.id = k.agent_id
    where k.organization_id = ${page.organizationId}
      and k.id < ${page.beforeId}
      and (${page.employeeIds}::text[] is null or k.employee_id = any(${page.employeeIds}::text[]))
    order by k.id desc
    limit ${page.limit}
  `;
}

/** Answers whether this call revoked it: false for a key that was revoked before. */
export async function apiKeyRevoke(
  sql: Queryable,
  key: { organizationId: string; id: string; revokedAt: Date },
): Promise<boolean> {
  const revoked = await sql`
    -- name: api_keys.revoke
    update api_keys
    set revoked_at = ${key.revokedAt}
    where organization_id = ${key.organizationId} and id = ${key.id} and revoked_at is null
    returning id
  `;
  return revoked.length > 0;
}

/** The organizations of those keys that are not any more what was loaded. */
export async function organizationsChanged(
  sql: Queryable,
  loaded: readonly Authority[],
): Promise<readonly string[]> {
  const rows = await sql<{ organizationId: string }[]>`
    -- name: api_keys.organizations_changed
    select distinct l.organization_id as "organizationId"
    from unnest(
      ${loaded.map(({ organizationId }) => organizationId)}::text[],
      ${loaded.map(({ apiKey }) => apiKey.id)}::text[],
      ${loaded.map(({ apiKey }) => apiKey.epoch.toString())}::text[]::bigint[],
      ${loaded.map(({ governanceEpoch }) => governanceEpoch.toString())}::text[]::bigint[]
    ) as l(organization_id, api_key_id, epoch, governance_epoch)
    left join api_keys k on k.organization_id = l.organization_id and k.id = l.api_key_id
    left join organizations o on o.id = l.organization_id
    where k.epoch is distinct from l.epoch
      or o.governance_epoch is distinct from l.governance_epoch
  `;
  return rows.map(({ organizationId }) => organizationId);
}
