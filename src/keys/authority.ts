/**
 * Everything that a key stands for, loaded at once: who acts, in which scopes, under which policies
 * and through which provider accounts. Correct as of the two epochs it carries; the reserve
 * statement compares them again.
 */

import { type GovernancePolicies, readPolicies } from "../budgets/applicable.ts";
import type { Queryable, Sql } from "../database/client.ts";
import { inTransaction } from "../database/transaction.ts";
import type { NanoUsd } from "../money.ts";
import { type PresentLineage, readLineage } from "../organizations/lineage.ts";
import { resolveScopes, type Scope } from "../organizations/scopes.ts";
import { type Block, blocksOfScopes } from "./block-queries.ts";

export type ProviderAccount = {
  readonly id: string;
  readonly provider: string;
  readonly baseUrl: string;
  readonly secretName: string;
};

export type Authority = {
  readonly organizationId: string;
  readonly governanceEpoch: bigint;
  /** Output limit for requests that name none. */
  readonly completionTokensDefault: number;
  readonly apiKey: ApiKeyFacts;
  readonly actor: { readonly kind: "employee" | "agent"; readonly id: string };
  readonly teamId: string | null;
  readonly projectId: string | null;
  readonly scopes: readonly Scope[];
  /** Those that can concern the key; some of them may have ended. */
  readonly blocks: readonly Block[];
  readonly policies: GovernancePolicies;
  readonly providerAccounts: ReadonlyMap<string, ProviderAccount>;
};

export type ApiKeyFacts = {
  readonly id: string;
  readonly epoch: bigint;
  readonly secretHmac: Uint8Array;
  /** The secret before the last rotation, which opens the key until the overlap ends. */
  readonly previousSecret: { readonly hmac: Uint8Array; readonly endsAt: Date } | null;
  readonly environment: string;
  /** Empty: every provider that the models name. */
  readonly allowedProviders: readonly string[];
  readonly allowedModels: readonly string[];
  readonly reservationMaxNanoUsd: NanoUsd | null;
  readonly isActive: boolean;
  readonly expiresAt: Date | null;
  readonly revokedAt: Date | null;
  /** What of the places that the key acts in is archived: then it opens nothing. */
  readonly archived: PresentLineage["archived"];
};

type KeyRow = {
  organization_id: string;
  id: string;
  employee_id: string | null;
  agent_id: string | null;
  project_id: string | null;
  environment: string;
  secret_hmac: Uint8Array;
  previous_secret_hmac: Uint8Array | null;
  previous_secret_ends_at: Date | null;
  allowed_providers: string[];
  allowed_models: string[];
  reservation_max_nano_usd: bigint | null;
  is_active: boolean;
  epoch: bigint;
  expires_at: Date | null;
  revoked_at: Date | null;
  governance_epoch: bigint;
  completion_tokens_default: number;
};

/** Loads a key's authority from one snapshot, or null when there is no such key. */
export async function loadAuthority(sql: Sql, apiKeyId: string): Promise<Authority | null> {
  return await inTransaction(
    sql,
    async (transaction) => {
      const [key] = await keyWithOrganization(transaction, apiKeyId);
      return key === undefined ? null : await assemble(transaction, key);
    },
    "isolation level repeatable read read only",
  );
}

/** Whether nothing that decides the key's requests has changed since this was loaded. */
export async function isCurrent(sql: Queryable, authority: Authority): Promise<boolean> {
  const [epochs] = await sql<{ epoch: bigint; governance_epoch: bigint }[]>`
    -- name: api_keys.epochs
    select k.epoch, o.governance_epoch
    from api_keys k
    join organizations o on o.id = k.organization_id
    where k.organization_id = ${authority.organizationId} and k.id = ${authority.apiKey.id}
  `;
  return (
    epochs?.epoch === authority.apiKey.epoch &&
    epochs.governance_epoch === authority.governanceEpoch
  );
}

async function assemble(sql: Queryable, key: KeyRow): Promise<Authority> {
  const lineage = await readLineage(sql, {
    organizationId: key.organization_id,
    apiKeyId: key.id,
    employeeId: key.employee_id,
    agentId: key.agent_id,
    projectId: key.project_id,
  });
  const scopes = resolveScopes(lineage);
  const scopeIds = scopes.map(({ id }) => id);
  const [blocks, policies, accounts] = await Promise.all([
    blocksOfScopes(sql, key.organization_id, scopeIds),
    readPolicies(sql, key.organization_id, scopes),
    activeProviderAccounts(sql, key.organization_id),
  ]);
  return {
    organizationId: key.organization_id,
    governanceEpoch: key.governance_epoch,
    completionTokensDefault: key.completion_tokens_default,
    apiKey: { ...toApiKeyFacts(key), archived: lineage.archived },
    actor:
      key.agent_id === null
        ? { kind: "employee", id: key.employee_id ?? "" }
        : { kind: "agent", id: key.agent_id },
    teamId: scopes.find(({ kind }) => kind === "team")?.id ?? null,
    projectId: key.project_id ?? lineage.projects[0]?.id ?? null,
    scopes,
    blocks,
    policies,
    providerAccounts: new Map(accounts.map((account) => [account.provider, account])),
  };
}

async function keyWithOrganization(sql: Queryable, apiKeyId: string): Promise<readonly KeyRow[]> {
  return await sql<KeyRow[]>`
    -- name: api_keys.with_organization
    select
      k.organization_id, k.id, k.employee_id, k.agent_id, k.project_id, k.environment,
      k.secret_hmac, k.previous_secret_hmac, k.previous_secret_ends_at, k.allowed_providers,
      k.allowed_models, k.reservation_max_nano_usd, k.is_active, k.epoch, k.expires_at,
      k.revoked_at,
      o.governance_epoch, o.completion_tokens_default
    from api_keys k
    join organizations o on o.id = k.organization_id
    where k.id = ${apiKeyId} and o.archived_at is null
  `;
}

async function activeProviderAccounts(
  sql: Queryable,
  organizationId: string,
): Promise<readonly ProviderAccount[]> {
  return await sql<ProviderAccount[]>`
    -- name: provider_accounts.active
    select id, provider, base_url as "baseUrl", secret_name as "secretName"
    from provider_accounts
    where organization_id = ${organizationId} and archived_at is null
    order by provider
  `;
}

function toApiKeyFacts(row: KeyRow): Omit<ApiKeyFacts, "archived"> {
  return {
    id: row.id,
    epoch: row.epoch,
    secretHmac: row.secret_hmac,
    previousSecret:
      row.previous_secret_hmac === null || row.previous_secret_ends_at === null
        ? null
        : { hmac: row.previous_secret_hmac, endsAt: row.previous_secret_ends_at },
    environment: row.environment,
    allowedProviders: row.allowed_providers,
    allowedModels: row.allowed_models,
    reservationMaxNanoUsd: row.reservation_max_nano_usd,
    isActive: row.is_active,
    expiresAt: row.expires_at,
    revokedAt: row.revoked_at,
  };
}
