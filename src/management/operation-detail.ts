/**
 * What OpenAPI says of one endpoint, made from its zod schemas. Given to the swagger plugin as a
 * finished description, because from a zod schema itself the plugin would print zod's internals.
 */

import type { DocumentDecoration } from "elysia";
import { z } from "zod";
import { type Endpoint, type EndpointDocumentation, noBody, type Resource } from "./endpoint.ts";
import { type ProblemStatus, problemReference } from "./problem-examples.ts";

/** Named in `components` of the document; see open-api.ts. */

const problemStatuses = {
  open: [400, 403, 413, 429, 500, 503],
  member: [401, 429, 500, 503],
} as const;

export function operationDetail(resource: Resource, endpoint: Endpoint): DocumentDecoration {
  const { documentation } = endpoint;
  const detail = {
    operationId: operationIdOf(resource, endpoint),
    summary: documentation.summary,
    description: documentation.description,
    tags: [resource.tag],
    // An extension of the document: what docs/reference/permissions.md is made from.
    ...(documentation.capabilities === undefined
      ? {}
      : { "x-capabilities": documentation.capabilities }),
    security: documentation.isOpen ? [] : [{ session: [] }, { bearer: [] }],
    parameters: [
      ...parametersOf(documentation.params, "path"),
      ...parametersOf(documentation.query, "query"),
      ...(documentation.needsVersion === true ? [ifMatchParameter] : []),
    ],
    ...requestBodyOf(documentation),
    responses: { [documentation.status]: answerOf(documentation), ...problemsOf(documentation) },
  };
  // The plugin's types are narrower than JSON Schema; a public validator proves the document.
  return detail as DocumentDecoration;
}

const ifMatchParameter = {
  name: "If-Match",
  in: "header",
  required: true,
  description: "The `ETag` of what you have read: its version in quotation marks.",
  schema: { type: "string", pattern: '^"\\d{1,9}"$', example: '"1"' },
} as const;

/** A schema as OpenAPI 3.0 writes it. `input` is what may be sent, `output` what is answered. */
export function schemaOf(schema: z.ZodType, io: "input" | "output"): Record<string, unknown> {
  return z.toJSONSchema(schema, {
    target: "openapi-3.0",
    io,
    override: ({ jsonSchema }) => {
      if (jsonSchema.format === "date-time") {
        // Leap years as a regular expression of 300 characters help no reader.
        delete jsonSchema.pattern;
      }
    },
  });
}

function operationIdOf(resource: Resource, { method, path }: Endpoint): string {
  // `/api-keys/:id` is getApiKeysById, beside getApiKeys.
  const named = `${resource.prefix}${path}`.replaceAll(":", "by-");
  const words = named.split(/[/-]/).filter((word) => word !== "");
  const name = words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join("");
  return `${method.toLowerCase()}${name}`;
}

function parametersOf(schema: z.ZodObject, place: "path" | "query") {
  const { properties = {}, required = [] } = schemaOf(schema, "input") as {
    properties?: Record<string, { description?: string }>;
    required?: string[];
  };
  return Object.entries(properties).map(([name, { description, ...property }]) => ({
    name,
    in: place,
    required: required.includes(name),
    ...(description === undefined ? {} : { description }),
    schema: property,
  }));
}

function requestBodyOf({ body, bodyExample }: EndpointDocumentation) {
  return body === noBody
    ? {}
    : {
        requestBody: {
          required: true,
          content: {
            "application/json": { schema: schemaOf(body, "input"), example: bodyExample },
          },
        },
      };
}

function answerOf({ answer, answerExample, answerMedia }: EndpointDocumentation) {
  const headers = {
    "x-request-id": { $ref: "#/components/headers/RequestId" },
    ...(isVersioned(answer) ? { etag: { $ref: "#/components/headers/Version" } } : {}),
  };
  return answer === null
    ? { description: "Done.", headers }
    : {
        description: "The answer.",
        headers,
        content: Object.fromEntries(
          (answerMedia ?? ["application/json"]).map((media) => [
            media,
            { schema: schemaOf(answer, "output"), example: answerExample },
          ]),
        ),
      };
}

function isVersioned(answer: z.ZodType | null): boolean {
  return answer instanceof z.ZodObject && "version" in answer.shape;
}

function problemsOf(documentation: EndpointDocumentation) {
  const { isOpen, params, body, query, needsVersion, problems = [] } = documentation;
  const takesInput = [params, query].some((schema) => Object.keys(schema.shape).length > 0);
  const statuses: readonly ProblemStatus[] = isOpen
    ? problemStatuses.open
    : [
        ...problemStatuses.member,
        403 as const,
        ...(takesInput || body !== noBody ? ([400] as const) : []),
        ...(body === noBody ? [] : ([413] as const)),
        ...(Object.keys(params.shape).length > 0 ? ([404] as const) : []),
        ...(needsVersion === true ? ([409, 428] as const) : []),
      ];
  return Object.fromEntries(
    [...statuses, ...problems].map((status) => [status, problemReference(status)]),
  );
}
