/** The people, agents, teams and projects that keys and budgets can be made for, read only. */
import { z } from "zod";
import type { Queryable } from "../database/client.ts";
import type { IdKind } from "../id.ts";
import {
  type AgentRow,
  agentList,
  type EmployeeRow,
  employeeList,
  type Page,
  type ProjectRow,
  projectList,
  type TeamRow,
  teamList,
} from "../organizations/queries.ts";
import type { Dependencies } from "./dependencies.ts";
import { noBody, noParams, type Resource } from "./endpoint.ts";
import { instant } from "./fields.ts";
import { memberEndpoint } from "./member-endpoint.ts";
import { cursorOfId, idPlace, pageAnswer, pageOf, pageQuery } from "./page.ts";

const ULID = "01KAJ3M2YV8Q4T6W9ZB5C7D1E2";
const CREATED_AT = "2026-11-21T09:30:00.000Z";
const OWNER_KINDS = ["employee", "team", "project", "agent"] as const;

const teamAnswer = z.strictObject({ id: z.string(), name: z.string(), createdAt: instant });
const projectAnswer = teamAnswer.extend({ teamId: z.string().nullable() });
const employeeAnswer = projectAnswer.extend({ email: z.string().nullable() });
const agentAnswer = teamAnswer.extend({
  owner: z.strictObject({ kind: z.enum(OWNER_KINDS), id: z.string() }),
});

export function directoryResources(dependencies: Dependencies): readonly Resource[] {
  const team = { id: `tea_${ULID}`, name: "Platform", createdAt: CREATED_AT };
  return [
    listResource(dependencies, {
      noun: "employees",
      kind: "employee",
      item: employeeAnswer,
      example: { ...team, id: `emp_${ULID}`, name: "Ada", teamId: team.id, email: null },
      list: employeeList,
      toItem: employeeOf,
    }),
    listResource(dependencies, {
      noun: "agents",
      kind: "agent",
      item: agentAnswer,
      example: { ...team, id: `agt_${ULID}`, owner: { kind: "team", id: team.id } },
      list: agentList,
      toItem: agentOf,
    }),
    listResource(dependencies, {
      noun: "teams",
      kind: "team",
      item: teamAnswer,
      example: team,
      list: teamList,
      toItem: teamOf,
    }),
    listResource(dependencies, {
      noun: "projects",
      kind: "project",
      item: projectAnswer,
      example: { ...team, id: `prj_${ULID}`, name: "Checkout", teamId: team.id },
      list: projectList,
      toItem: projectOf,
    }),
  ];
}

type Listed<Row extends { id: string }, Item extends z.ZodObject> = {
  noun: string;
  kind: IdKind;
  item: Item;
  example: z.output<Item>;
  list(sql: Queryable, page: Page): Promise<readonly Row[]>;
  toItem(row: Row): z.output<Item>;
};

function listResource<Row extends { id: string }, Item extends z.ZodObject>(
  dependencies: Dependencies,
  listed: Listed<Row, Item>,
): Resource {
  const list = memberEndpoint(dependencies, {
    method: "GET",
    path: "",
    summary: `List ${listed.noun}`,
    description: "Newest first. An employee sees what is around their own work.",
    params: noParams,
    query: pageQuery,
    body: noBody,
    capabilities: ["organization.read"],
    answer: pageAnswer(listed.item),
    answerExample: { items: [listed.example], nextCursor: null },
    run: async ({ query, member }) => {
      const rows = await listed.list(dependencies.sql, {
        organizationId: member.organization.id,
        employeeIds: member.visibleEmployeeIds,
        beforeId: idPlace(listed.kind, query),
        limit: query.limit + 1,
      });
      return pageOf(rows, query.limit, (row) => listed.toItem(row), cursorOfId);
    },
  });
  return { prefix: `/${listed.noun}`, tag: "Organization", endpoints: [list] };
}

function teamOf(row: TeamRow): z.output<typeof teamAnswer> {
  return { id: row.id, name: row.name, createdAt: row.created_at.toISOString() };
}

function projectOf(row: ProjectRow): z.output<typeof projectAnswer> {
  return { ...teamOf(row), teamId: row.team_id };
}

function employeeOf(row: EmployeeRow): z.output<typeof employeeAnswer> {
  return { ...projectOf(row), email: row.email };
}

function agentOf(row: AgentRow): z.output<typeof agentAnswer> {
  return { ...teamOf(row), owner: { kind: row.owner_kind, id: row.owner_id } };
}
