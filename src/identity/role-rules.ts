/** Who may give, change and take which role. Pure; docs/reference/permissions.md says the same. */
import type { Role } from "./capability.ts";

/** Only an org_admin may touch who has one of these (F78). */
export const ELEVATED_ROLES: readonly Role[] = [
  "org_admin",
  "iam_admin",
  "platform_admin",
  "finance_manager",
];

export function isElevated(role: Role | null): boolean {
  return role !== null && ELEVATED_ROLES.includes(role);
}

/**
 * Whether somebody with the role `actor` may turn a member's role `from` into `to`; null is a
 * member without a role. The same rule decides who may suspend or remove a member (from their role
 * to none) and who may invite (from none to a role).
 */
export function mayAssignRole(actor: Role | null, from: Role | null, to: Role | null): boolean {
  switch (actor) {
    case "org_admin":
      return true;
    case "iam_admin":
      return !(isElevated(from) || isElevated(to));
    case "platform_admin":
    case "finance_manager":
    case "manager":
    case "employee":
    case "auditor":
    case null:
      return false;
    default:
      return actor satisfies never;
  }
}

/** The roles by whose holders this one may be given. */
export function assignableBy(role: Role): readonly Role[] {
  return isElevated(role) ? ["org_admin"] : ["org_admin", "iam_admin"];
}
