/** A new employee and its audit row. */
import { type Change, recordAuditEvent } from "../audit/audit-event.ts";
import type { Transaction } from "../database/client.ts";
import { newId } from "../id.ts";
import { employeeInsert } from "./queries.ts";

type NewEmployee = {
  organizationId: string;
  name: string;
  email: string | null;
  teamId: string | null;
};

/** Creates an employee. Answers its id. */
export async function createEmployee(
  transaction: Transaction,
  employee: NewEmployee,
  change: Change,
): Promise<string> {
  const id = newId("employee", change.at);
  await employeeInsert(transaction, { ...employee, id, createdAt: change.at });
  const { organizationId, ...facts } = employee;
  await recordAuditEvent(
    transaction,
    { organizationId, action: "employee.create", subjectId: id, after: facts },
    change,
  );
  return id;
}
