/**
 * Changing a policy: its name, its mode and what its kind has to say; or archiving it. Kind, scope
 * and budget stay: what applies somewhere else is another policy. In force from the next request.
 */
import { type Change, recordAuditEvent } from "../audit/audit-event.ts";
import type { Transaction } from "../database/client.ts";
import { requireVersion } from "../database/require-version.ts";
import { PublicError } from "../errors.ts";
import { type LockedPolicyRow, policyArchive, policyLock, policyUpdate } from "./change-queries.ts";
import type { PolicyKind, PolicyMode, PolicySettings } from "./queries.ts";

type ChangedPolicy = { organizationId: string; id: string; expectedVersion: number };

/** New settings by their names; null takes one away, what is not given stays. */
export type SettingsPatch = Readonly<Record<string, string | readonly string[] | null>>;

/** What of each kind's settings may be changed, and whether it may be taken away. */
const CHANGEABLE: Readonly<Record<PolicyKind, Readonly<Record<string, "needed" | "optional">>>> = {
  hard_cap: {},
  soft_cap: {},
  per_request_limit: { requestMaxUsd: "needed" },
  allowlist: { providers: "optional", models: "optional", tools: "optional" },
  rate_limit: { limit: "needed" },
  review: { aboveUsd: "needed", provider: "optional", model: "optional" },
};

/**
 * Throws `not_found`, `archived`, `version_stale`, and `invalid_request` naming a field that the
 * policy's kind does not have. `requireKindAllowed` throws when the caller may not change a kind.
 */
export async function changePolicy(
  transaction: Transaction,
  policy: ChangedPolicy & {
    name?: string | undefined;
    mode?: PolicyMode | undefined;
    settings: SettingsPatch;
  },
  change: Change,
  requireKindAllowed: (kind: PolicyKind) => void,
): Promise<void> {
  const row = await lockForChange(transaction, policy, requireKindAllowed);
  const name = policy.name ?? row.name;
  const mode = policy.mode ?? row.mode;
  if (row.kind === "soft_cap" && mode === "shadow") {
    throw new PublicError("invalid_request", "A soft cap refuses nothing: it has no shadow mode.", {
      param: "mode",
    });
  }
  const settings = patched(row, policy.settings);
  await policyUpdate(transaction, { ...policy, name, mode, settings });
  await recordAuditEvent(
    transaction,
    {
      organizationId: policy.organizationId,
      action: "policy.change",
      subjectId: policy.id,
      before: { name: row.name, mode: row.mode, ...row.settings },
      after: { name, mode, ...settings },
    },
    change,
  );
}

/** Throws as `changePolicy` does. */
export async function archivePolicy(
  transaction: Transaction,
  policy: ChangedPolicy,
  change: Change,
  requireKindAllowed: (kind: PolicyKind) => void,
): Promise<void> {
  await lockForChange(transaction, policy, requireKindAllowed);
  await policyArchive(transaction, { ...policy, archivedAt: change.at });
  await recordAuditEvent(
    transaction,
    {
      organizationId: policy.organizationId,
      action: "policy.archive",
      subjectId: policy.id,
      before: { archivedAt: null },
      after: { archivedAt: change.at.toISOString() },
    },
    change,
  );
}

async function lockForChange(
  transaction: Transaction,
  { organizationId, id, expectedVersion }: ChangedPolicy,
  requireKindAllowed: (kind: PolicyKind) => void,
): Promise<LockedPolicyRow> {
  const row = await policyLock(transaction, { organizationId, id });
  if (row === null) {
    throw new PublicError("not_found", "There is no such policy.");
  }
  requireKindAllowed(row.kind);
  if (row.archived_at !== null) {
    throw new PublicError("archived", "The policy is archived and cannot be changed.");
  }
  requireVersion(row, expectedVersion);
  return row;
}

function patched({ kind, settings }: LockedPolicyRow, patch: SettingsPatch): PolicySettings {
  const changed = new Map(Object.entries(settings));
  for (const [name, value] of Object.entries(patch)) {
    const rule = CHANGEABLE[kind][name];
    if (rule === undefined) {
      throw refusal(`A policy of the kind ${kind} has no ${name} that could be changed.`, name);
    }
    if (value !== null) {
      changed.set(name, value);
    } else if (rule === "optional") {
      changed.delete(name);
    } else {
      throw refusal(`A policy of the kind ${kind} needs ${name}.`, name);
    }
  }
  if (kind === "allowlist" && changed.size === 0) {
    throw refusal("Name providers, models or tools to allow; or archive the policy.", "models");
  }
  return Object.fromEntries(changed);
}

function refusal(message: string, param: string): PublicError {
  return new PublicError("invalid_request", message, { param });
}
