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

export const CAPABILITIES = [
  "organization.read",
  "api_key.read",
  "api_key.create",
  "api_key.revoke",
  "budget.read",
  "budget.write",
  "policy.read",
  "policy.write",
  "allowlist.write",
  "ledger.read",
  "reservation.read",
  "request.read",
  "usage.read",
  "alert.read",
  "settlement.replay",
] as const;

export type Capability = (typeof CAPABILITIES)[number];

type RoleGrant = {
  capabilities: readonly Capability[];
  /** Whether the role sees everyone's keys, entries and requests, or only the member's own. */
  sees: "everyone" | "own";
};

const OWN_WORK: readonly Capability[] = [
  "organization.read",
  "api_key.read",
  "api_key.create",
  "api_key.revoke",
  "ledger.read",
  "reservation.read",
  "request.read",
  "usage.read",
];

const ROLE_GRANTS: Readonly<Record<Role, RoleGrant>> = {
  org_admin: { capabilities: CAPABILITIES, sees: "everyone" },
  iam_admin: {
    capabilities: ["organization.read", "api_key.read", "api_key.create", "api_key.revoke"],
    sees: "everyone",
  },
  // Runs the box and says which models may be used; money is not its business (F85).
  platform_admin: {
    capabilities: [
      "organization.read",
      "api_key.read",
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
      "budget.read",
      "budget.write",
      "policy.read",
      "policy.write",
      "allowlist.write",
      "ledger.read",
      "reservation.read",
      "request.read",
      "usage.read",
      "alert.read",
    ],
    sees: "everyone",
  },
  // A manager's data is limited to assigned areas (F88). Areas do not exist yet, so none is
  // assigned to anyone, and a manager has what an employee has.
  manager: { capabilities: OWN_WORK, sees: "own" },
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

/**
 * The employees whose keys and bookings a member sees: null means everyone's; an empty list, which
 * is what a member gets who is no employee, means nobody's.
 */
export function visibleEmployeeIds(
  role: Role | null,
  employeeId: string | null,
): readonly string[] | null {
  if (role !== null && ROLE_GRANTS[role].sees === "everyone") {
    return null;
  }
  return employeeId === null ? [] : [employeeId];
}
