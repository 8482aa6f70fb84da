/**
 * Roles and what each may do. The server decides by this table; the dashboard hides by the list
 * that every management answer carries.
 */

export const ROLES = [
  "org_admin",
  "iam_admin",
  "platform_admin",
  "finance_manager",
  "manager",
  "employee",
  "auditor",
] as const;

export type Role = (typeof ROLES)[number];

/** A manager and an employee are people: what they see hangs on who they are. */
export const AUTOMATION_ROLES = [
  "org_admin",
  "iam_admin",
  "platform_admin",
  "finance_manager",
  "auditor",
] as const satisfies readonly Role[];

export type AutomationRole = (typeof AUTOMATION_ROLES)[number];

export const CAPABILITIES = [
  "organization.read",
  "organization.write",
  "hierarchy.write",
  "api_key.read",
  "api_key.create",
  "api_key.change",
  "api_key.revoke",
  "block.read",
  "block.write",
  "budget.read",
  "budget.write",
  "policy.read",
  "policy.write",
  "allowlist.write",
  "review.read",
  "review.decide",
  "ledger.read",
  "reservation.read",
  "request.read",
  "usage.read",
  "alert.read",
  "audit.read",
  "settlement.replay",
  "member.read",
  "member.write",
  "service_token.read",
  "service_token.write",
] as const;

export type Capability = (typeof CAPABILITIES)[number];

/** Left out of what a service token may do: access is given by people. */
const PEOPLE_ONLY: readonly Capability[] = ["member.write", "service_token.write"];

export type Sight = "everyone" | "areas" | "own";

type RoleGrant = {
  capabilities: readonly Capability[];
  /** Whose keys, entries and requests the role sees: the assigned areas are beside the own. */
  sees: Sight;
};

const OWN_WORK: readonly Capability[] = [
  "organization.read",
  "api_key.read",
  "api_key.create",
  "api_key.change",
  "api_key.revoke",
  "ledger.read",
  "reservation.read",
  "request.read",
  "usage.read",
];

const ROLE_GRANTS: Readonly<Record<Role, RoleGrant>> = {
  org_admin: { capabilities: CAPABILITIES, sees: "everyone" },
  iam_admin: {
    capabilities: [
      "organization.read",
      "hierarchy.write",
      "api_key.read",
      "api_key.create",
      "api_key.change",
      "api_key.revoke",
      "member.read",
      "member.write",
      "service_token.read",
      "service_token.write",
    ],
    sees: "everyone",
  },
  // Runs the box and says which models may be used; money is not its business (F85).
  platform_admin: {
    capabilities: [
      "organization.read",
      "api_key.read",
      "block.read",
      "block.write",
      "policy.read",
      "allowlist.write",
      "reservation.read",
      "request.read",
      "usage.read",
      "alert.read",
      "settlement.replay",
    ],
    sees: "everyone",
  },
  finance_manager: {
    capabilities: [
      "organization.read",
      "api_key.read",
      "block.read",
      "block.write",
      "budget.read",
      "budget.write",
      "policy.read",
      "policy.write",
      "allowlist.write",
      "review.read",
      "review.decide",
      "ledger.read",
      "reservation.read",
      "request.read",
      "usage.read",
      "alert.read",
    ],
    sees: "everyone",
  },
  // A manager's data is limited to assigned areas (F88).
  manager: { capabilities: OWN_WORK, sees: "areas" },
  employee: { capabilities: OWN_WORK, sees: "own" },
  auditor: {
    capabilities: CAPABILITIES.filter((capability) => capability.endsWith(".read")),
    sees: "everyone",
  },
};

/** What a role may do. A member without a role may do nothing (F81). */
export function capabilitiesOf(role: Role | null): readonly Capability[] {
  return role === null ? [] : ROLE_GRANTS[role].capabilities;
}

/** What a service token that is bound to the role may do. */
export function automationCapabilitiesOf(role: AutomationRole): readonly Capability[] {
  return capabilitiesOf(role).filter((capability) => !PEOPLE_ONLY.includes(capability));
}

/** Whose work a role sees. */
export function sightOf(role: Role): Sight {
  return ROLE_GRANTS[role].sees;
}

/**
 * The employees whose keys and bookings a member sees: null means everyone's; an empty list, which
 * is what a member gets who is no employee, means nobody's.
 */
export function visibleEmployeeIds(
  role: Role | null,
  employeeId: string | null,
  areaEmployeeIds: readonly string[],
): readonly string[] | null {
  const sees = role === null ? "own" : sightOf(role);
  if (sees === "everyone") {
    return null;
  }
  const own = employeeId === null ? [] : [employeeId];
  return sees === "areas" ? [...new Set([...own, ...areaEmployeeIds])] : own;
}
