/** What a route is to the router, to the documentation and to the log. */
import { z } from "zod";
import type { PublicError } from "../errors.ts";
import type { Capability } from "../identity/capability.ts";
import type { Member } from "../identity/member.ts";
import type { ProblemStatus } from "./problem-examples.ts";

/** For routes that take none of them. */
export const noParams = z.strictObject({});
export const noQuery = z.strictObject({});
export const noBody = z.undefined();

/** One request on its way, and what is learnt about it for the log. */
export type Exchange = {
  readonly request: Request;
  readonly requestId: string;
  readonly clientAddress: string;
  readonly now: Date;
  member: Member | null;
  route: string | null;
  refusal: PublicError | null;
};

export type Method = "GET" | "POST" | "PATCH" | "DELETE";

/** What a route looks like to the router and to the documentation. */
export type Endpoint = {
  readonly method: Method;
  /** Behind the resource's prefix, with `:name` for parameters. */
  readonly path: string;
  readonly documentation: EndpointDocumentation;
  respond(exchange: Exchange, params: Readonly<Record<string, string>>): Promise<Response>;
};

export type EndpointDocumentation = {
  readonly summary: string;
  readonly description: string;
  readonly isOpen: boolean;
  /** One of these is needed; none are named where signing in is enough. */
  readonly capabilities?: readonly Capability[];
  /** Besides those that every route of its kind may have. */
  readonly problems?: readonly ProblemStatus[];
  readonly params: z.ZodObject;
  readonly query: z.ZodObject;
  /** `noBody` where none is taken. */
  readonly body: z.ZodType;
  readonly bodyExample?: unknown;
  /** Null where the answer is empty. */
  readonly answer: z.ZodType | null;
  readonly answerExample?: unknown;
  /** Where it is not JSON: every media type that it may have. */
  readonly answerMedia?: readonly string[];
  /** Whether `If-Match` must name the version that the caller has seen. */
  readonly needsVersion?: boolean;
  readonly status: number;
};

/** A noun of the API: its prefix under /management and its routes. */
export type Resource = {
  readonly prefix: string;
  readonly tag: string;
  readonly endpoints: readonly Endpoint[];
};
