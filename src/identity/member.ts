/** Who asks the management API: a person, or automation, in one organization. */
import type { Queryable } from "../database/client.ts";
import {
  type Capability,
  capabilitiesOf,
  type Role,
  sightOf,
  visibleEmployeeIds,
} from "./capability.ts";
import { areaEmployeeIds, type CallerRow } from "./member-queries.ts";

export type Member = {
  /** Of a service token: the person who made it. */
  readonly user: { readonly id: string; readonly email: string; readonly name: string };
  readonly organization: { readonly id: string; readonly name: string };
  readonly role: Role | null;
  readonly capabilities: readonly Capability[];
  /** Whose keys and bookings the member sees; null: everyone's. See `visibleEmployeeIds`. */
  readonly visibleEmployeeIds: readonly string[] | null;
  /** Null for a person. */
  readonly serviceTokenId: string | null;
};

/** What a person may do and see, by their role and areas. */
export async function memberOf(sql: Queryable, row: CallerRow): Promise<Member> {
  const { role, organization_id: organizationId } = row;
  const hasAreas = role !== null && sightOf(role) === "areas";
  const inAreas = hasAreas ? await areaEmployeeIds(sql, organizationId, row.membership_id) : [];
  return {
    user: { id: row.user_id, email: row.email, name: row.user_name },
    organization: { id: organizationId, name: row.organization_name },
    role,
    capabilities: capabilitiesOf(role),
    visibleEmployeeIds: visibleEmployeeIds(role, row.employee_id, inAreas),
    serviceTokenId: null,
  };
}
