/** The organization that the member is signed in to: its profile, and the defaults of requests. */
import { z } from "zod";
import { inTransaction } from "../database/transaction.ts";
import { PublicError } from "../errors.ts";
import type { Member } from "../identity/session.ts";
import { changeOrganization } from "../organizations/organization.ts";
import { type OrganizationRow, organizationFind } from "../organizations/queries.ts";
import type { Dependencies } from "./dependencies.ts";
import { type Endpoint, noBody, noQuery, type Resource } from "./endpoint.ts";
import { idField, instant, nameField } from "./fields.ts";
import { memberEndpoint } from "./member-endpoint.ts";
import { changesField } from "./place-fields.ts";
import { changeEndpoint, versionAnswer } from "./versioned.ts";

const EXAMPLE_ID = "org_01KAJ3M2YV8Q4T6W9ZB5C7D1E2";
/** No model writes more in one answer; a larger default would only bind money for nothing. */
const COMPLETION_TOKENS_MAX = 1_000_000;

const changeBody = changesField(
  z
    .strictObject({
      name: nameField,
      completionTokensDefault: z
        .int("must be a whole number")
        .min(1, `must be 1 to ${COMPLETION_TOKENS_MAX}`)
        .max(COMPLETION_TOKENS_MAX, `must be 1 to ${COMPLETION_TOKENS_MAX}`)
        .meta({ description: "Output limit of a request that names none itself." }),
    })
    .partial(),
);

const organizationAnswer = z.strictObject({
  id: z.string(),
  name: z.string(),
  completionTokensDefault: z.int(),
  version: versionAnswer,
  createdAt: instant,
});

const example: z.output<typeof organizationAnswer> = {
  id: EXAMPLE_ID,
  name: "Acme",
  completionTokensDefault: 4096,
  version: 1,
  createdAt: "2026-11-21T09:30:00.000Z",
};

const params = z.strictObject({ id: idField("organization", EXAMPLE_ID) });

export function organizationResource(dependencies: Dependencies): Resource {
  return {
    prefix: "/organizations",
    tag: "Organization",
    endpoints: [readEndpoint(dependencies), renameEndpoint(dependencies)],
  };
}

function readEndpoint(dependencies: Dependencies): Endpoint {
  return memberEndpoint(dependencies, {
    method: "GET",
    path: "/:id",
    summary: "Read the organization",
    description: "The one that you are signed in to; of another there is nothing to see.",
    params,
    query: noQuery,
    body: noBody,
    capabilities: ["organization.read"],
    answer: organizationAnswer,
    answerExample: example,
    run: async ({ params: { id }, member }) => {
      requireOwn(member, id);
      return itemOf(await organizationFind(dependencies.sql, id));
    },
  });
}

function renameEndpoint(dependencies: Dependencies): Endpoint {
  return changeEndpoint(dependencies, {
    method: "PATCH",
    path: "/:id",
    summary: "Change the organization's profile",
    description: "What is absent stays.",
    params,
    query: noQuery,
    body: changeBody,
    bodyExample: { name: "Acme Europe" },
    capabilities: ["organization.write"],
    answer: organizationAnswer,
    answerExample: { ...example, name: "Acme Europe", version: 2 },
    run: async ({ params: { id }, body, member, change, expectedVersion }) => {
      requireOwn(member, id);
      const row = await inTransaction(dependencies.sql, async (transaction) =>
        changeOrganization(transaction, { id, expectedVersion }, body, change),
      );
      return itemOf(row);
    },
  });
}

function requireOwn(member: Member, id: string): void {
  if (member.organization.id !== id) {
    throw new PublicError("not_found", "There is no such organization.");
  }
}

function itemOf(row: OrganizationRow | null): z.output<typeof organizationAnswer> {
  if (row === null) {
    throw new PublicError("not_found", "There is no such organization.");
  }
  return {
    id: row.id,
    name: row.name,
    completionTokensDefault: row.completion_tokens_default,
    version: row.version,
    createdAt: row.created_at.toISOString(),
  };
}
