/** Teams: in a branch, or directly below the organization. */
import { z } from "zod";
import { createTeam, teamPlace } from "../organizations/team.ts";
import { type TeamRow, teamList } from "../organizations/team-queries.ts";
import type { Dependencies } from "./dependencies.ts";
import type { Resource } from "./endpoint.ts";
import { nameField } from "./fields.ts";
import { placeResource } from "./place-endpoints.ts";
import {
  branchIdField,
  changesField,
  EXAMPLE_IDS,
  placeAnswer,
  placeExample,
  placeItemOf,
} from "./place-fields.ts";

const createBody = z.strictObject({ name: nameField, branchId: branchIdField.nullish() });
const teamAnswer = placeAnswer.extend({ branchId: z.string().nullable() });

export function teamResource(dependencies: Dependencies): Resource {
  const branchId = EXAMPLE_IDS.branch;
  return placeResource(dependencies, {
    nouns: "teams",
    place: teamPlace,
    item: teamAnswer,
    example: { ...placeExample, id: EXAMPLE_IDS.team, name: "Platform", branchId },
    toItem: teamOf,
    list: teamList,
    createBody,
    createExample: { name: "Platform", branchId },
    create: async (transaction, organizationId, body, change) =>
      await createTeam(transaction, { ...body, organizationId }, change),
    changeBody: changesField(createBody.partial()),
    changeExample: { branchId },
    changesOf: (body) => body,
  });
}

function teamOf(row: TeamRow): z.output<typeof teamAnswer> {
  return { ...placeItemOf(row), branchId: row.branch_id };
}
