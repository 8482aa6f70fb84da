/** Fields that branches, teams, projects, employees and agents share. */
import { z } from "zod";
import { isId } from "../id.ts";
import { PLACE_KINDS, PLACE_STATES, type PlaceRow } from "../organizations/place-queries.ts";
import { idField, instant, nameField, timeOrNull } from "./fields.ts";
import { pageQuery } from "./page.ts";
import { versionAnswer } from "./versioned.ts";

const ULID = "01KAJ3M2YV8Q4T6W9ZB5C7D1E2";

export const EXAMPLE_IDS = {
  branch: `brn_${ULID}`,
  team: `tea_${ULID}`,
  project: `prj_${ULID}`,
  employee: `emp_${ULID}`,
  agent: `agt_${ULID}`,
} as const;

export const placeListQuery = pageQuery.extend({
  state: z.enum(PLACE_STATES).default("active"),
  parentId: z
    .string()
    .refine((text) => PLACE_KINDS.some((kind) => isId(kind, text)), "must be the id of a place")
    .optional()
    .meta({ description: "Only what directly belongs to this place.", example: EXAMPLE_IDS.team }),
  search: nameField.optional().meta({ description: "Only names that contain it." }),
});

/** What every answer about a place has. */
export const placeAnswer = z.strictObject({
  id: z.string(),
  name: z.string(),
  version: versionAnswer,
  createdAt: instant,
  archivedAt: instant.nullable(),
});

export const placeExample = {
  version: 1,
  createdAt: "2026-11-21T09:30:00.000Z",
  archivedAt: null,
};

export function placeItemOf(row: PlaceRow): z.output<typeof placeAnswer> {
  return {
    id: row.id,
    name: row.name,
    version: row.version,
    createdAt: row.created_at.toISOString(),
    archivedAt: timeOrNull(row.archived_at),
  };
}

/** A body that changes something. */
export function changesField<Body extends z.ZodObject>(body: Body): Body {
  return body
    .refine((changes) => Object.keys(changes).length > 0, "must change something")
    .meta({ minProperties: 1 });
}

export const branchIdField = idField("branch", EXAMPLE_IDS.branch);
export const teamIdField = idField("team", EXAMPLE_IDS.team);
