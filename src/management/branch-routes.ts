/** Branches. */
import { z } from "zod";
import { branchPlace, createBranch } from "../organizations/branch.ts";
import { branchList } from "../organizations/branch-queries.ts";
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
} from "./place-fields.ts";

const createBody = z.strictObject({ name: nameField });

export function branchResource(dependencies: Dependencies): Resource {
  return placeResource(dependencies, {
    nouns: "branches",
    place: branchPlace,
    item: placeAnswer,
    example: { ...placeExample, id: EXAMPLE_IDS.branch, name: "Berlin" },
    toItem: placeItemOf,
    list: branchList,
    createBody,
    createExample: { name: "Berlin" },
    create: async (transaction, organizationId, body, change) =>
      await createBranch(transaction, { ...body, organizationId }, change),
    changeBody: changesField(createBody.partial()),
    changeExample: { name: "Berlin and Brandenburg" },
    changesOf: (body) => body,
  });
}
