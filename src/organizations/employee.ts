/** Employees: in a team, or directly below the organization. */
import { type Change, recordAuditEvent } from "../audit/audit-event.ts";
import type { Transaction } from "../database/client.ts";
import { newId } from "../id.ts";
import {
  type EmployeeRow,
  employeeFind,
  employeeInsert,
  employeeUpdate,
} from "./employee-queries.ts";
import { lockOrganization, type Place, requireActive } from "./place.ts";

type EmployeeFacts = { name: string; email: string | null; teamId: string | null };

export const employeePlace: Place<EmployeeRow, EmployeeFacts> = {
  kind: "employee",
  find: employeeFind,
  factsOf: (row) => ({ name: row.name, email: row.email, teamId: row.team_id }),
  refuseBad: async (transaction, { organizationId }, after, before) => {
    if (after.teamId !== before.teamId) {
      await refuseBadTeam(transaction, organizationId, after);
    }
  },
  update: (sql, employee, facts) => employeeUpdate(sql, { ...employee, ...facts }),
};

/** Creates an employee. Answers its id. Throws `invalid_request` unless the team is active. */
export async function createEmployee(
  transaction: Transaction,
  employee: { organizationId: string } & EmployeeFacts,
  change: Change,
): Promise<string> {
  const { organizationId, name, email, teamId } = employee;
  await lockOrganization(transaction, organizationId);
  const facts = { name, email, teamId };
  await refuseBadTeam(transaction, organizationId, facts);
  const id = newId("employee", change.at);
  await employeeInsert(transaction, { organizationId, id, ...facts, createdAt: change.at });
  await recordAuditEvent(
    transaction,
    { organizationId, action: "employee.create", subjectId: id, after: facts },
    change,
  );
  return id;
}

async function refuseBadTeam(
  transaction: Transaction,
  organizationId: string,
  { teamId }: EmployeeFacts,
): Promise<void> {
  if (teamId !== null) {
    await requireActive(transaction, { kind: "team", organizationId, id: teamId }, "teamId");
  }
}
