/**
 * The company of the demo: "Acme" with a team, a project, an employee, an agent, two hard caps, a
 * key that may use every OpenAI model, and an administrator. Made through the same verbs as any
 * other organization.
 */

import { type Change, changeByInstallation } from "../audit/audit-event.ts";
import { createBudget } from "../budgets/budget.ts";
import { createPolicy } from "../budgets/policy.ts";
import type { Sql, Transaction } from "../database/client.ts";
import { inTransaction } from "../database/transaction.ts";
import { createMembership, grantRole } from "../identity/membership.ts";
import { createUserWithPassword } from "../identity/user.ts";
import { createApiKey } from "../keys/api-key.ts";
import { type NanoUsd, parseUsd } from "../money.ts";
import { createAgent } from "../organizations/agent.ts";
import { createEmployee } from "../organizations/employee.ts";
import { createOrganization } from "../organizations/organization.ts";
import { createProject } from "../organizations/project.ts";
import { createProviderAccount } from "../organizations/provider-account.ts";
import type { Scope } from "../organizations/scopes.ts";
import { createTeam } from "../organizations/team.ts";

export type DemoCompany = {
  organizationId: string;
  teamId: string;
  employeeId: string;
  apiKeyId: string;
  /** The key's whole token; shown once, as everywhere. */
  token: string;
  adminUserId: string;
};

type DemoOptions = {
  /** Where OpenAI, or what plays it, is reached; with `/v1`. */
  openAiBaseUrl: string;
  hmacKey: Uint8Array;
  admin: { email: string; password: string };
  now: Date;
  organizationCapUsd?: string;
  teamCapUsd?: string;
};

const ORGANIZATION_CAP_USD = "100";
const TEAM_CAP_USD = "25";

/** Creates everything in one transaction. Rejects when the administrator's e-mail is taken. */
export async function foundDemoCompany(sql: Sql, options: DemoOptions): Promise<DemoCompany> {
  return await inTransaction(sql, (transaction) => found(transaction, options));
}

async function found(transaction: Transaction, options: DemoOptions): Promise<DemoCompany> {
  const change = changeByInstallation(options.now);
  const organizationId = await createOrganization(transaction, { name: "Acme" }, change);
  const teamId = await createTeam(transaction, { organizationId, name: "Platform" }, change);
  const inTeam = { organizationId, teamId };
  const projectId = await createProject(transaction, { ...inTeam, name: "Assistant" }, change);
  const ada = { ...inTeam, name: "Ada Lovelace", email: "ada@acme.example" };
  const employeeId = await createEmployee(transaction, ada, change);
  const agentId = await createAgent(
    transaction,
    { organizationId, name: "Research agent", owner: { kind: "employee", id: employeeId } },
    change,
  );
  await createProviderAccount(
    transaction,
    {
      organizationId,
      provider: "openai",
      name: "OpenAI",
      baseUrl: options.openAiBaseUrl,
      secretName: "OPENAI_API_KEY",
    },
    change,
  );
  const organizationCap = parseUsd(options.organizationCapUsd ?? ORGANIZATION_CAP_USD);
  const teamCap = parseUsd(options.teamCapUsd ?? TEAM_CAP_USD);
  const organization = { kind: "organization", id: organizationId } as const;
  await addHardCap(transaction, organizationId, organization, "Acme", organizationCap, change);
  const team = { kind: "team", id: teamId } as const;
  await addHardCap(transaction, organizationId, team, "Platform team", teamCap, change);
  const { apiKeyId, token } = await createApiKey(
    transaction,
    {
      organizationId,
      name: "Demo key",
      actor: { kind: "agent", id: agentId },
      projectId,
      environment: "development",
      allowedProviders: [],
      allowedModels: ["*"],
      allowedTools: [],
      reservationMaxNanoUsd: null,
      expiresAt: null,
      tokenKind: "test",
    },
    { change, hmacKey: options.hmacKey, employeeIds: null },
  );
  const adminUserId = await addAdministrator(transaction, organizationId, options, change);
  return { organizationId, teamId, employeeId, apiKeyId, token, adminUserId };
}

/** A monthly budget and the policy that makes it a hard cap. */
async function addHardCap(
  transaction: Transaction,
  organizationId: string,
  scope: Scope,
  name: string,
  amountNanoUsd: NanoUsd,
  change: Change,
): Promise<void> {
  const budgetId = await createBudget(
    transaction,
    {
      organizationId,
      name,
      scope,
      provider: null,
      model: null,
      tool: null,
      environment: null,
      amountNanoUsd,
      period: "month",
      timeZone: "UTC",
      startsAt: null,
      endsAt: null,
    },
    change,
  );
  const policy = { organizationId, name: `${name} hard cap`, kind: "hard_cap", budgetId } as const;
  await createPolicy(transaction, policy, change);
}

async function addAdministrator(
  transaction: Transaction,
  organizationId: string,
  { admin, now }: DemoOptions,
  change: Change,
): Promise<string> {
  const userId = await createUserWithPassword(transaction, { ...admin, name: "Admin" }, now);
  const membership = { organizationId, userId, employeeId: null };
  const membershipId = await createMembership(transaction, membership, change);
  await grantRole(transaction, { organizationId, membershipId, role: "org_admin" }, change);
  return userId;
}
