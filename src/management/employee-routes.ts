/** Employees: in a team, or directly below the organization. */
import { z } from "zod";
import { createEmployee, employeePlace } from "../organizations/employee.ts";
import { type EmployeeRow, employeeList } from "../organizations/employee-queries.ts";
import type { Dependencies } from "./dependencies.ts";
import type { Resource } from "./endpoint.ts";
import { nameField } from "./fields.ts";
import { placeResource } from "./place-endpoints.ts";
import {
  changesField,
  EXAMPLE_IDS,
  placeAnswer,
  placeExample,
  placeItemOf,
  teamIdField,
} from "./place-fields.ts";

const EMAIL_CHARACTERS_MAX = 320;

const emailField = z
  .string()
  .trim()
  .max(EMAIL_CHARACTERS_MAX, "must be an e-mail address")
  .regex(/^[^\s\p{Cc}@]+@[^\s\p{Cc}@]+$/u, "must be an e-mail address")
  .meta({ example: "ada@example.com" });

const createBody = z.strictObject({
  name: nameField,
  email: emailField.nullish(),
  teamId: teamIdField.nullish(),
});

const employeeAnswer = placeAnswer.extend({
  email: z.string().nullable(),
  teamId: z.string().nullable(),
});

export function employeeResource(dependencies: Dependencies): Resource {
  const teamId = EXAMPLE_IDS.team;
  const ada = { name: "Ada", email: "ada@example.com", teamId };
  return placeResource(dependencies, {
    nouns: "employees",
    place: employeePlace,
    item: employeeAnswer,
    example: { ...placeExample, ...ada, id: EXAMPLE_IDS.employee },
    toItem: employeeOf,
    list: employeeList,
    createBody,
    createExample: ada,
    create: async (transaction, organizationId, { name, email = null, teamId: inId }, change) => {
      const employee = { organizationId, name, email, teamId: inId ?? null };
      return await createEmployee(transaction, employee, change);
    },
    changeBody: changesField(createBody.partial()),
    changeExample: { teamId },
    changesOf: (body) => body,
  });
}

function employeeOf(row: EmployeeRow): z.output<typeof employeeAnswer> {
  return { ...placeItemOf(row), email: row.email, teamId: row.team_id };
}
