/**
 * Changes of versioned things: an answer about one carries its `version` in the body and as `ETag`,
 * and a change names in `If-Match` the version that its author has seen (RFC 9110, 13.1.1). Whether
 * it is still the present one is decided under the row's lock, by `requireVersion` in the database
 * folder.
 */
import { z } from "zod";
import { PublicError } from "../errors.ts";
import type { Dependencies } from "./dependencies.ts";
import type { Endpoint } from "./endpoint.ts";
import { type Call, memberEndpoint, type Shape } from "./member-endpoint.ts";
import { InvalidFieldsError } from "./problem.ts";

/** A member of every answer about one versioned thing. */
export const versionAnswer = z.int().min(1).meta({
  description: "Grows with each change. Send it as `If-Match` with the next one.",
  example: 1,
});

const ETAG = /^"(\d{1,9})"$/;

type ChangeShape<
  Params extends z.ZodObject,
  Query extends z.ZodObject,
  Body extends z.ZodType,
  Answer extends z.ZodObject,
> = Omit<Shape<Params, Query, Body, Answer>, "run" | "needsVersion"> & {
  run(call: Call<Params, Query, Body> & { expectedVersion: number }): Promise<z.output<Answer>>;
};

/**
 * A `memberEndpoint` that changes a versioned thing. Without `If-Match` it is refused with 428
 * `precondition_required`; `run` gets the version and must pass it to `requireVersion`.
 */
export function changeEndpoint<
  Params extends z.ZodObject,
  Query extends z.ZodObject,
  Body extends z.ZodType,
  Answer extends z.ZodObject,
>(dependencies: Dependencies, shape: ChangeShape<Params, Query, Body, Answer>): Endpoint {
  return memberEndpoint(dependencies, {
    ...shape,
    needsVersion: true,
    run: async (call) => await shape.run({ ...call, expectedVersion: readIfMatch(call.headers) }),
  });
}

function readIfMatch(headers: Headers): number {
  const header = headers.get("if-match");
  if (header === null) {
    throw new PublicError(
      "precondition_required",
      'Send the version that you have seen as If-Match: "<version>"; a GET answers it as ETag.',
    );
  }
  const version = ETAG.exec(header.trim())?.[1];
  if (version === undefined) {
    throw new InvalidFieldsError([
      { field: "If-Match", reason: 'must be one version in quotation marks, such as "1"' },
    ]);
  }
  return Number(version);
}
