/**
 * The five routes of every place below the organization: list, read, create, change (rename and
 * move) and archive. What a place consists of is in the file of its resource.
 */
import { z } from "zod";
import type { Change } from "../audit/audit-event.ts";
import type { AuditFacts } from "../audit/queries.ts";
import type { Queryable, Transaction } from "../database/client.ts";
import { inTransaction } from "../database/transaction.ts";
import { PublicError } from "../errors.ts";
import type { Member } from "../identity/session.ts";
import {
  archivePlace,
  type Changes,
  changePlace,
  type Place as PlaceVerbs,
} from "../organizations/place.ts";
import type { Page, PlaceKind, PlaceRow, Reader } from "../organizations/place-queries.ts";
import type { Dependencies } from "./dependencies.ts";
import { type Endpoint, noBody, noParams, noQuery, type Resource } from "./endpoint.ts";
import { idField } from "./fields.ts";
import { memberEndpoint } from "./member-endpoint.ts";
import { cursorOfId, idPlace, pageAnswer, pageOf } from "./page.ts";
import { EXAMPLE_IDS, placeListQuery } from "./place-fields.ts";
import { changeEndpoint } from "./versioned.ts";

type Place<Row extends PlaceRow, Facts extends AuditFacts, Item extends z.ZodObject> = {
  /** The plural, as in the path. */
  nouns: string;
  place: PlaceVerbs<Row, Facts>;
  item: Item;
  example: z.output<Item>;
  toItem(row: Row): z.output<Item>;
  list(sql: Queryable, page: Page): Promise<readonly Row[]>;
};

type Creation<New extends z.ZodType> = {
  createBody: New;
  createExample: z.input<New>;
  /** Answers the id. */
  create(
    transaction: Transaction,
    organizationId: string,
    body: z.output<New>,
    change: Change,
  ): Promise<string>;
};

type Alteration<Facts extends AuditFacts, Changed extends z.ZodType> = {
  changeBody: Changed;
  changeExample: z.input<Changed>;
  changesOf(body: z.output<Changed>): Changes<Facts>;
};

export function placeResource<
  Row extends PlaceRow,
  Facts extends AuditFacts,
  Item extends z.ZodObject,
  New extends z.ZodType,
  Changed extends z.ZodType,
>(
  dependencies: Dependencies,
  shape: Place<Row, Facts, Item> & Creation<New> & Alteration<Facts, Changed>,
): Resource {
  return {
    prefix: `/${shape.nouns}`,
    tag: "Organization",
    endpoints: [
      listEndpoint(dependencies, shape),
      createEndpoint(dependencies, shape, shape),
      readEndpoint(dependencies, shape),
      alterEndpoint(dependencies, shape, shape),
      archiveEndpoint(dependencies, shape),
    ],
  };
}

function listEndpoint<Row extends PlaceRow, Facts extends AuditFacts, Item extends z.ZodObject>(
  dependencies: Dependencies,
  shape: Place<Row, Facts, Item>,
): Endpoint {
  return memberEndpoint(dependencies, {
    method: "GET",
    path: "",
    summary: `List ${shape.nouns}`,
    description: "Newest first. An employee sees what is around their own work.",
    params: noParams,
    query: placeListQuery,
    body: noBody,
    capabilities: ["organization.read"],
    answer: pageAnswer(shape.item),
    answerExample: { items: [shape.example], nextCursor: null },
    run: async ({ query, member }) => {
      const rows = await shape.list(dependencies.sql, {
        ...readerOf(member),
        state: query.state,
        parentId: query.parentId ?? null,
        search: query.search ?? null,
        beforeId: idPlace(shape.place.kind, query),
        limit: query.limit + 1,
      });
      return pageOf(rows, query.limit, (row) => shape.toItem(row), cursorOfId);
    },
  });
}

function createEndpoint<
  Row extends PlaceRow,
  Facts extends AuditFacts,
  Item extends z.ZodObject,
  New extends z.ZodType,
>(dependencies: Dependencies, shape: Place<Row, Facts, Item>, creation: Creation<New>): Endpoint {
  return memberEndpoint(dependencies, {
    method: "POST",
    path: "",
    summary: `Create ${withArticle(shape.place.kind)}`,
    description: "What it is put into must be active.",
    params: noParams,
    query: noQuery,
    body: creation.createBody,
    bodyExample: creation.createExample,
    capabilities: ["hierarchy.write"],
    answer: shape.item,
    answerExample: shape.example,
    status: 201,
    run: async ({ body, member, change }) => {
      const row = await inTransaction(dependencies.sql, async (transaction) => {
        const id = await creation.create(transaction, member.organization.id, body, change);
        return await findPlace(transaction, shape, readerOf(member), id);
      });
      return shape.toItem(row);
    },
  });
}

function readEndpoint<Row extends PlaceRow, Facts extends AuditFacts, Item extends z.ZodObject>(
  dependencies: Dependencies,
  shape: Place<Row, Facts, Item>,
): Endpoint {
  return memberEndpoint(dependencies, {
    method: "GET",
    path: "/:id",
    summary: `Read ${withArticle(shape.place.kind)}`,
    description: "Archived ones can be read as well.",
    params: paramsOf(shape.place.kind),
    query: noQuery,
    body: noBody,
    capabilities: ["organization.read"],
    answer: shape.item,
    answerExample: shape.example,
    run: async ({ params, member }) =>
      shape.toItem(await findPlace(dependencies.sql, shape, readerOf(member), params.id)),
  });
}

function alterEndpoint<
  Row extends PlaceRow,
  Facts extends AuditFacts,
  Item extends z.ZodObject,
  Changed extends z.ZodType,
>(
  dependencies: Dependencies,
  shape: Place<Row, Facts, Item>,
  alteration: Alteration<Facts, Changed>,
): Endpoint {
  return changeEndpoint(dependencies, {
    method: "PATCH",
    path: "/:id",
    summary: `Rename or move ${withArticle(shape.place.kind)}`,
    description: "What is absent stays. A move decides the next request of everyone below.",
    params: paramsOf(shape.place.kind),
    query: noQuery,
    body: alteration.changeBody,
    bodyExample: alteration.changeExample,
    capabilities: ["hierarchy.write"],
    answer: shape.item,
    answerExample: { ...shape.example, version: 2 },
    run: async ({ params, body, member, change, expectedVersion }) => {
      const target = { ...readerOf(member), id: params.id, expectedVersion };
      const row = await inTransaction(dependencies.sql, async (transaction) =>
        changePlace(transaction, shape.place, target, alteration.changesOf(body), change),
      );
      return shape.toItem(row);
    },
  });
}

function archiveEndpoint<Row extends PlaceRow, Facts extends AuditFacts, Item extends z.ZodObject>(
  dependencies: Dependencies,
  shape: Place<Row, Facts, Item>,
): Endpoint {
  return changeEndpoint(dependencies, {
    method: "POST",
    path: "/:id/archive",
    summary: `Archive ${withArticle(shape.place.kind)}`,
    description:
      "Keys in it open nothing from the next request on; its budgets and its history stay. " +
      "Refused while something active belongs to it. Archiving it again changes nothing.",
    params: paramsOf(shape.place.kind),
    query: noQuery,
    body: noBody,
    capabilities: ["hierarchy.write"],
    answer: shape.item,
    answerExample: { ...shape.example, version: 2, archivedAt: "2026-11-21T10:00:00.000Z" },
    run: async ({ params, member, change, expectedVersion }) => {
      const target = { ...readerOf(member), id: params.id, expectedVersion };
      const row = await inTransaction(dependencies.sql, async (transaction) =>
        archivePlace(transaction, shape.place, target, change),
      );
      return shape.toItem(row);
    },
  });
}

async function findPlace<Row extends PlaceRow, Facts extends AuditFacts>(
  sql: Queryable,
  { place }: { place: PlaceVerbs<Row, Facts> },
  reader: Reader,
  id: string,
): Promise<Row> {
  const row = await place.find(sql, reader, id);
  if (row === null) {
    throw new PublicError("not_found", `There is no such ${place.kind}.`);
  }
  return row;
}

function readerOf(member: Member): Reader {
  return { organizationId: member.organization.id, employeeIds: member.visibleEmployeeIds };
}

function paramsOf(kind: PlaceKind) {
  return z.strictObject({ id: idField(kind, EXAMPLE_IDS[kind]) });
}

function withArticle(kind: PlaceKind): string {
  return `${/^[ae]/.test(kind) ? "an" : "a"} ${kind}`;
}
