/**
 * Which scopes a request belongs to. Pure: from where the actor stands in the hierarchy to the
 * union of everything above it. Computed from the present rows whenever authority is loaded, so
 * that moving an actor changes the next request.
 */

export const SCOPE_KINDS = [
  "organization",
  "branch",
  "team",
  "project",
  "employee",
  "agent",
  "subagent",
  // Not a place in the hierarchy: a budget or policy that is bound to one key.
  "api_key",
] as const;

export type ScopeKind = (typeof SCOPE_KINDS)[number];
export type Scope = { readonly kind: ScopeKind; readonly id: string };

type Placed = { readonly teamId: string | null; readonly branchId: string | null };

/** Where an actor stands. `agents` goes from the acting agent up to the root agent. */
export type Lineage = {
  readonly organizationId: string;
  readonly apiKeyId: string;
  readonly agentIds: readonly string[];
  readonly employee: (Placed & { readonly id: string }) | null;
  /** The team that owns the root agent. */
  readonly ownerTeam: { readonly id: string; readonly branchId: string | null } | null;
  /** The key's project and the project that owns the root agent. */
  readonly projects: readonly (Placed & { readonly id: string })[];
};

/** Every scope once, from the organization down. */
export function resolveScopes(lineage: Lineage): readonly Scope[] {
  const placed = [
    ...(lineage.employee === null ? [] : [lineage.employee]),
    ...lineage.projects,
    ...(lineage.ownerTeam === null
      ? []
      : [{ teamId: lineage.ownerTeam.id, branchId: lineage.ownerTeam.branchId }]),
  ];
  // The root of the chain is the agent; everything below it is a subagent.
  const rootAgentId = lineage.agentIds.at(-1);
  const subagentIds = lineage.agentIds.slice(0, -1);
  return [
    { kind: "organization", id: lineage.organizationId },
    ...scopesOf(
      "branch",
      placed.map(({ branchId }) => branchId),
    ),
    ...scopesOf(
      "team",
      placed.map(({ teamId }) => teamId),
    ),
    ...scopesOf(
      "project",
      lineage.projects.map(({ id }) => id),
    ),
    ...scopesOf("employee", [lineage.employee?.id ?? null]),
    ...scopesOf("agent", [rootAgentId ?? null]),
    ...scopesOf("subagent", subagentIds),
    { kind: "api_key", id: lineage.apiKeyId },
  ];
}

function scopesOf(kind: ScopeKind, ids: readonly (string | null)[]): Scope[] {
  const present = ids.filter((id) => id !== null);
  return [...new Set(present)].map((id) => ({ kind, id }));
}
