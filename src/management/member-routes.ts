/** Members: who belongs to the organization, with which role, and for which areas. */
import { z } from "zod";
import { inTransaction } from "../database/transaction.ts";
import { requireFound } from "../errors.ts";
import { ROLES } from "../identity/capability.ts";
import {
  changeMember,
  type MemberChange,
  removeMember,
  setSuspended,
} from "../identity/change-member.ts";
import { type MembershipRow, membershipFind, membershipList } from "../identity/member-queries.ts";
import type { Dependencies } from "./dependencies.ts";
import { type Endpoint, noBody, noParams, noQuery, type Resource } from "./endpoint.ts";
import { idField, instant, listField, timeOrNull } from "./fields.ts";
import { type Call, memberEndpoint } from "./member-endpoint.ts";
import { cursorOfId, idPlace, pageAnswer, pageOf, pageQuery } from "./page.ts";
import { changeEndpoint, versionAnswer } from "./versioned.ts";

const ULID = "01KAJ3M2YV8Q4T6W9ZB5C7D1E2";
const EXAMPLE_ID = `mem_${ULID}`;

const oneMember = z.strictObject({ id: idField("membership", EXAMPLE_ID) });

const areaField = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("branch"), id: idField("branch", `brn_${ULID}`) }),
  z.strictObject({ kind: z.literal("team"), id: idField("team", `tea_${ULID}`) }),
]);

const changeBody = z
  .strictObject({
    role: z.enum(ROLES).nullable().meta({ description: "Null takes all access." }),
    employeeId: idField("employee", `emp_${ULID}`)
      .nullable()
      .meta({ description: "Whose work is the member's own." }),
    areas: listField(areaField).meta({ description: "What a manager sees beside own work." }),
  })
  .partial();

const memberAnswer = z.strictObject({
  id: z.string(),
  user: z.strictObject({ id: z.string(), email: z.string(), name: z.string() }),
  role: z.enum(ROLES).nullable(),
  employeeId: z.string().nullable(),
  areas: z.array(z.strictObject({ kind: z.enum(["branch", "team"]), id: z.string() })),
  createdAt: instant,
  suspendedAt: instant.nullable(),
  version: versionAnswer,
});

const example: z.output<typeof memberAnswer> = {
  id: EXAMPLE_ID,
  user: { id: `usr_${ULID}`, email: "ada@example.com", name: "Ada" },
  role: "manager",
  employeeId: `emp_${ULID}`,
  areas: [{ kind: "team", id: `tea_${ULID}` }],
  createdAt: "2026-11-21T09:30:00.000Z",
  suspendedAt: null,
  version: 1,
};

/** What the endpoints that change one member have in common. */
const oneChange = {
  params: oneMember,
  query: noQuery,
  capabilities: ["member.write"],
  answer: memberAnswer,
} as const;

export function memberResource(dependencies: Dependencies): Resource {
  return {
    prefix: "/members",
    tag: "Members",
    endpoints: [
      listEndpoint(dependencies),
      readEndpoint(dependencies),
      patchEndpoint(dependencies),
      suspendEndpoint(dependencies),
      resumeEndpoint(dependencies),
      removeEndpoint(dependencies),
    ],
  };
}

function listEndpoint(dependencies: Dependencies): Endpoint {
  return memberEndpoint(dependencies, {
    method: "GET",
    path: "",
    summary: "List members",
    description: "Newest first; those who were removed are left out.",
    params: noParams,
    query: pageQuery,
    body: noBody,
    capabilities: ["member.read"],
    answer: pageAnswer(memberAnswer),
    answerExample: { items: [example], nextCursor: null },
    run: async ({ query, member }) => {
      const rows = await membershipList(dependencies.sql, {
        organizationId: member.organization.id,
        beforeId: idPlace("membership", query),
        limit: query.limit + 1,
      });
      return pageOf(rows, query.limit, itemOf, cursorOfId);
    },
  });
}

function readEndpoint(dependencies: Dependencies): Endpoint {
  return memberEndpoint(dependencies, {
    method: "GET",
    path: "/:id",
    summary: "Read a member",
    description: "With the version that a change must name.",
    params: oneMember,
    query: noQuery,
    body: noBody,
    capabilities: ["member.read"],
    answer: memberAnswer,
    answerExample: example,
    run: async ({ params, member }) => {
      const key = { organizationId: member.organization.id, id: params.id };
      const row = await membershipFind(dependencies.sql, key);
      return itemOf(requireFound(row, "member"));
    },
  });
}

function patchEndpoint(dependencies: Dependencies): Endpoint {
  return changeEndpoint(dependencies, {
    ...oneChange,
    method: "PATCH",
    path: "/:id",
    summary: "Change a member",
    description:
      "Role, employee, areas; what is left out stays. Only an org_admin touches elevated roles, " +
      "nobody their own, and the last org_admin stays. It counts from the next request on.",
    body: changeBody,
    bodyExample: { role: "manager", areas: [{ kind: "team", id: `tea_${ULID}` }] },
    answerExample: example,
    run: async (call) => {
      const { areas, role, employeeId } = call.body;
      const patch = { role, employeeId, areas: areas === undefined ? undefined : areasOf(areas) };
      const row = await inTransaction(
        dependencies.sql,
        async (transaction) => await changeMember(transaction, targetOf(call), patch),
      );
      return itemOf(row);
    },
  });
}

function suspendEndpoint(dependencies: Dependencies): Endpoint {
  return changeEndpoint(dependencies, {
    ...oneChange,
    method: "POST",
    path: "/:id/suspend",
    summary: "Suspend a member",
    description: "They keep the role, have no access, and their sessions here end at once.",
    body: noBody,
    answerExample: { ...example, suspendedAt: "2026-11-21T10:00:00.000Z", version: 2 },
    run: async (call) => {
      const row = await inTransaction(
        dependencies.sql,
        async (transaction) => await setSuspended(transaction, targetOf(call), true),
      );
      return itemOf(row);
    },
  });
}

function resumeEndpoint(dependencies: Dependencies): Endpoint {
  return changeEndpoint(dependencies, {
    ...oneChange,
    method: "POST",
    path: "/:id/resume",
    summary: "End a suspension",
    description: "The member has the same role as before, and must sign in again.",
    body: noBody,
    answerExample: { ...example, version: 3 },
    run: async (call) => {
      const row = await inTransaction(
        dependencies.sql,
        async (transaction) => await setSuspended(transaction, targetOf(call), false),
      );
      return itemOf(row);
    },
  });
}

function removeEndpoint(dependencies: Dependencies): Endpoint {
  return changeEndpoint(dependencies, {
    ...oneChange,
    method: "POST",
    path: "/:id/remove",
    summary: "Remove a member",
    description:
      "Role, areas and sessions here end. Keys of the employee and service tokens that the " +
      "member made stay: revoke them if that is wanted. A new invitation brings the member back.",
    body: noBody,
    answerExample: { ...example, role: null, areas: [], version: 2 },
    run: async (call) => {
      const row = await inTransaction(
        dependencies.sql,
        async (transaction) => await removeMember(transaction, targetOf(call)),
      );
      return itemOf(row);
    },
  });
}

function targetOf(
  call: Pick<Call<typeof oneMember, typeof noQuery, z.ZodType>, "params" | "member" | "change"> & {
    expectedVersion: number;
  },
): MemberChange {
  const { params, member, change, expectedVersion } = call;
  return { membershipId: params.id, expectedVersion, by: member, change };
}

function areasOf(areas: readonly z.output<typeof areaField>[]) {
  const idsOf = (kind: "branch" | "team") => [
    ...new Set(areas.filter((area) => area.kind === kind).map(({ id }) => id)),
  ];
  return { branchIds: idsOf("branch"), teamIds: idsOf("team") };
}

function itemOf(row: MembershipRow): z.output<typeof memberAnswer> {
  return {
    id: row.id,
    user: { id: row.user_id, email: row.email, name: row.user_name },
    role: row.role,
    employeeId: row.employee_id,
    areas: [
      ...row.branch_ids.map((id) => ({ kind: "branch" as const, id })),
      ...row.team_ids.map((id) => ({ kind: "team" as const, id })),
    ],
    createdAt: row.created_at.toISOString(),
    suspendedAt: timeOrNull(row.suspended_at),
    version: row.version,
  };
}
