/** SQL of API keys. `employeeIds` are the employees whose keys the reader may see, null for all. */
import type { Queryable, Transaction } from "../database/client.ts";
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
  /** The epoch: it grows with each change. */
  version: number;
  created_at: Date;
  expires_at: Date | null;
  rotated_at: Date | null;
  previous_secret_ends_at: Date | null;
  revoked_at: Date | null;
  /** To the minute; null when it was never used. */
  last_used_at: Date | null;
  spent_nano_usd: bigint;
};

export type Environment = "production" | "staging" | "development";

type KeyOfReader = {
  organizationId: string;
  id: string;
  employeeIds: readonly string[] | null;
};

export async function apiKeyFind(sql: Queryable, key: KeyOfReader): Promise<ApiKeyRow | null> {
  const [row] = await apiKeyList(sql, { ...key, onlyId: key.id, beforeId: null, limit: 1 });
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

/** Newest first. `onlyId` asks for one key; `beforeId` is null on the first page. */
export async function apiKeyList(
  sql: Queryable,
  page: {
    organizationId: string;
    employeeIds: readonly string[] | null;
    onlyId: string | null;
    beforeId: string | null;
    limit: number;
  },
): Promise<readonly ApiKeyRow[]> {
  const employeeIds = [...(page.employeeIds ?? [])];
  return await sql<ApiKeyRow[]>`
    -- name: api_keys.list
    select
      k.id, k.name, k.employee_id, k.agent_id, coalesce(e.name, a.name) as actor_name,
      k.project_id, k.environment, k.token_kind, k.allowed_providers, k.allowed_models,
      k.allowed_tools, k.reservation_max_nano_usd, k.is_active, k.epoch::integer as version,
      k.created_at, k.expires_at, k.rotated_at, k.previous_secret_ends_at, k.revoked_at,
      (
        select u.last_used_at from api_key_uses u
        where u.organization_id = k.organization_id and u.api_key_id = k.id
      ) as last_used_at,
      (
        select coalesce(sum(d.cost_nano_usd), 0)::bigint from usage_daily d
        where d.organization_id = k.organization_id and d.api_key_id = k.id
      ) as spent_nano_usd
    from api_keys k
    left join employees e on e.organization_id = k.organization_id and e.id = k.employee_id
    left join agents a on a.organization_id = k.organization_id and a.id = k.agent_id
    where k.organization_id = ${page.organizationId}
      ${page.onlyId === null ? sql`` : sql`and k.id = ${page.onlyId}`}
      ${page.beforeId === null ? sql`` : sql`and k.id < ${page.beforeId}`}
      ${page.employeeIds === null ? sql`` : sql`and k.employee_id = any(${employeeIds}::text[])`}
    order by k.id desc
    limit ${page.limit}
  `;
}

/** Locks the key until the transaction ends; false when the reader sees no such key. */
export async function apiKeyLock(transaction: Transaction, key: KeyOfReader): Promise<boolean> {
  const rows = await transaction`
    -- name: api_keys.lock
    select from api_keys
    where organization_id = ${key.organizationId}
      and id = ${key.id}
      and (${key.employeeIds}::text[] is null or employee_id = any(${key.employeeIds}::text[]))
    for no key update
  `;
  return rows.length > 0;
}

export async function apiKeyRevoke(
  sql: Queryable,
  key: { organizationId: string; id: string; revokedAt: Date; cutsRunning: boolean },
): Promise<void> {
  await sql`
    -- name: api_keys.revoke
    update api_keys
    set
      revoked_at = coalesce(revoked_at, ${key.revokedAt}),
      revocation_cuts_running = revocation_cuts_running or ${key.cutsRunning}
    where organization_id = ${key.organizationId} and id = ${key.id}
  `;
}

/** The secret that it has becomes the one before, and opens the key until `previousEndsAt`. */
export async function apiKeyRotate(
  sql: Queryable,
  key: {
    organizationId: string;
    id: string;
    secretHmac: Uint8Array;
    previousEndsAt: Date;
    rotatedAt: Date;
  },
): Promise<void> {
  await sql`
    -- name: api_keys.rotate
    update api_keys
    set
      previous_secret_hmac = secret_hmac,
      previous_secret_ends_at = ${key.previousEndsAt},
      secret_hmac = ${key.secretHmac},
      rotated_at = ${key.rotatedAt}
    where organization_id = ${key.organizationId} and id = ${key.id}
  `;
}

export async function apiKeyUpdate(
  sql: Queryable,
  row: {
    organizationId: string;
    id: string;
    name: string;
    projectId: string | null;
    environment: Environment;
    allowedProviders: readonly string[];
    allowedModels: readonly string[];
    allowedTools: readonly string[];
    reservationMaxNanoUsd: bigint | null;
    expiresAt: Date | null;
    isActive: boolean;
  },
): Promise<void> {
  await sql`
    -- name: api_keys.update
    update api_keys
    set
      name = ${row.name},
      project_id = ${row.projectId},
      environment = ${row.environment},
      allowed_providers = ${[...row.allowedProviders]},
      allowed_models = ${[...row.allowedModels]},
      allowed_tools = ${[...row.allowedTools]},
      reservation_max_nano_usd = ${row.reservationMaxNanoUsd},
      expires_at = ${row.expiresAt},
      is_active = ${row.isActive}
    where organization_id = ${row.organizationId} and id = ${row.id}
  `;
}

/** Remembers uses; one that is older than what is known changes nothing. */
export async function apiKeyUsesRecord(
  sql: Queryable,
  uses: readonly { organizationId: string; apiKeyId: string; usedAt: Date }[],
): Promise<void> {
  await sql`
    -- name: api_key_uses.record
    insert into api_key_uses as u (organization_id, api_key_id, last_used_at)
    select n.organization_id, n.api_key_id, n.used_at
    from unnest(
      ${uses.map(({ organizationId }) => organizationId)}::text[],
      ${uses.map(({ apiKeyId }) => apiKeyId)}::text[],
      ${uses.map(({ usedAt }) => usedAt.toISOString())}::text[]::timestamptz[]
    ) as n(organization_id, api_key_id, used_at)
    -- In one order on every node, so that two nodes never wait for each other.
    order by n.api_key_id
    on conflict on constraint api_key_uses_pkey do update
    set last_used_at = excluded.last_used_at
    where u.last_used_at < excluded.last_used_at
  `;
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
