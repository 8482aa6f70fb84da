/** Projects: in a team, in a branch, or parallel to both. */
import { z } from "zod";
import { createProject, projectPlace } from "../organizations/project.ts";
import { type ProjectRow, projectList } from "../organizations/project-queries.ts";
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
  teamIdField,
} from "./place-fields.ts";

const createBody = z.strictObject({
  name: nameField,
  branchId: branchIdField.nullish().meta({ description: "Not together with a team." }),
  teamId: teamIdField.nullish(),
});

const projectAnswer = placeAnswer.extend({
  branchId: z.string().nullable(),
  teamId: z.string().nullable(),
});

export function projectResource(dependencies: Dependencies): Resource {
  const teamId = EXAMPLE_IDS.team;
  return placeResource(dependencies, {
    nouns: "projects",
    place: projectPlace,
    item: projectAnswer,
    example: {
      ...placeExample,
      id: EXAMPLE_IDS.project,
      name: "Checkout",
      branchId: null,
      teamId,
    },
    toItem: projectOf,
    list: projectList,
    createBody,
    createExample: { name: "Checkout", teamId },
    create: async (transaction, organizationId, body, change) =>
      await createProject(transaction, { ...body, organizationId }, change),
    changeBody: changesField(createBody.partial()),
    changeExample: { branchId: EXAMPLE_IDS.branch, teamId: null },
    changesOf: (body) => body,
  });
}

function projectOf(row: ProjectRow): z.output<typeof projectAnswer> {
  return { ...placeItemOf(row), branchId: row.branch_id, teamId: row.team_id };
}
