/** A new organization with its first org_admin, in one transaction. */
import type { Change } from "../audit/audit-event.ts";
import type { Transaction } from "../database/client.ts";
import { createOrganization } from "../organizations/organization.ts";
import { createProviderAccount } from "../organizations/provider-account.ts";
import { createMembership, grantRole } from "./membership.ts";
import { anyOrganization, foundingLock, organizationsLed, userFindByEmail } from "./queries.ts";
import { createUser } from "./user.ts";

export type Founding = {
  name: string;
  /** `passwordHash` counts only where there is no user with the e-mail (in lower case) yet. */
  admin: { email: string; name: string; passwordHash: string | null };
  /** Whether its calls may go to OpenAI, with the node's own key. */
  hasOpenAiAccount: boolean;
};

const OPENAI_ACCOUNT = {
  provider: "openai",
  name: "OpenAI",
  baseUrl: "https://api.openai.com/v1",
  secretName: "OPENAI_API_KEY",
};

export type Founded = { organizationId: string; userId: string; isNew: boolean };

/** There is an organization of this name already, and this person does not lead it. */
export class NameTakenError extends Error {
  override readonly name = "NameTakenError";
}

/**
 * Creates the organization, the user where there is none, and the membership as org_admin. When the
 * organization of that name is led by that person already, it answers that one and changes nothing.
 * Throws `NameTakenError`.
 */
export async function foundOrganization(
  transaction: Transaction,
  { name, admin, hasOpenAiAccount }: Founding,
  change: Change,
): Promise<Founded> {
  // Names are not unique in the table, so two commands at once must not both look and then write.
  await foundingLock(transaction);
  const named = await organizationsLed(transaction, name, admin.email);
  const own = named.find((organization) => organization.user_id !== null);
  if (own !== undefined && own.user_id !== null) {
    return { organizationId: own.id, userId: own.user_id, isNew: false };
  }
  if (named.length > 0) {
    throw new NameTakenError(
      `there is an organization "${name}" already, and ${admin.email} is not its org_admin: ` +
        "one of its org_admins can invite them",
    );
  }
  const organizationId = await createOrganization(transaction, { name }, change);
  if (hasOpenAiAccount) {
    await createProviderAccount(transaction, { organizationId, ...OPENAI_ACCOUNT }, change);
  }
  const existing = await userFindByEmail(transaction, admin.email);
  const userId = existing?.id ?? (await createUser(transaction, admin, change.at));
  const membership = { organizationId, userId, employeeId: null };
  const membershipId = await createMembership(transaction, membership, change);
  await grantRole(transaction, { organizationId, membershipId, role: "org_admin" }, change);
  return { organizationId, userId, isNew: true };
}

/**
 * The same, but only in an installation that has no organization at all; answers null in any other.
 * Of many calls at once one founds.
 */
export async function foundFirstOrganization(
  transaction: Transaction,
  founding: Founding,
  change: Change,
): Promise<Founded | null> {
  await foundingLock(transaction);
  return (await anyOrganization(transaction))
    ? null
    : await foundOrganization(transaction, founding, change);
}
