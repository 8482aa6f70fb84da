/**
 * A route for people who signed in: who may call it, what it takes, what it answers and its
 * documentation, all from the same zod schemas. A resource's file is a list of these.
 */
import { z } from "zod";
import type { Change } from "../audit/audit-event.ts";
import { PublicError } from "../errors.ts";
import { CAPABILITIES, type Capability } from "../identity/capability.ts";
import type { Member } from "../identity/member.ts";
import { changeSourceOf } from "./change-source.ts";
import type { Dependencies } from "./dependencies.ts";
import { type Endpoint, type Exchange, type Method, noBody } from "./endpoint.ts";
import { parseWith, readJsonBody, readQuery } from "./parse.ts";

export type Shape<
  Params extends z.ZodObject,
  Query extends z.ZodObject,
  Body extends z.ZodType,
  Answer extends z.ZodObject,
> = {
  method: Method;
  path: string;
  summary: string;
  description: string;
  params: Params;
  query: Query;
  body: Body;
  /** Required where a body is taken, for the documentation. */
  bodyExample?: z.input<Body>;
  /** One of these is needed. */
  capabilities: readonly [Capability, ...Capability[]];
  answer: Answer;
  /** An answer with a `version` carries it as its ETag as well. */
  answerExample: z.output<Answer>;
  /** See versioned.ts, which reads the header. */
  needsVersion?: boolean;
  status?: 200 | 201;
  run(call: Call<Params, Query, Body>): Promise<z.output<Answer>>;
};

export type Call<Params extends z.ZodType, Query extends z.ZodType, Body extends z.ZodType> = {
  params: z.output<Params>;
  query: z.output<Query>;
  body: z.output<Body>;
  headers: Headers;
  member: Member;
  now: Date;
  /** What the audit log will say of this request. */
  change: Change;
};

/** Added to every answer, so that a page can hide what the server would refuse. */
const capabilitiesAnswer = z.array(z.enum(CAPABILITIES));

/**
 * A route for people who signed in. The examples and the answer of `run` are checked against the
 * schemas by the compiler; `capabilities` is added to the answer.
 */
export function memberEndpoint<
  Params extends z.ZodObject,
  Query extends z.ZodObject,
  Body extends z.ZodType,
  Answer extends z.ZodObject,
>({ callers }: Dependencies, shape: Shape<Params, Query, Body, Answer>): Endpoint {
  const { capabilities, status = 200 } = shape;
  return {
    method: shape.method,
    path: shape.path,
    documentation: {
      ...shape,
      isOpen: false,
      answer: shape.answer.extend({ capabilities: capabilitiesAnswer }),
      answerExample: { ...shape.answerExample, capabilities: [...capabilities] },
      status,
    },
    respond: async (exchange, params) => {
      const member = await callers.requireMember(exchange);
      requireCapability(member, capabilities);
      const answer = await shape.run({
        params: parseWith(shape.params, params),
        query: parseWith(shape.query, readQuery(exchange.request)),
        body: parseWith(shape.body, await bodyOf(exchange, shape.body)),
        headers: exchange.request.headers,
        member,
        now: exchange.now,
        change: {
          userId: member.user.id,
          serviceTokenId: member.serviceTokenId,
          requestId: exchange.requestId,
          ...changeSourceOf(exchange),
          at: exchange.now,
        },
      });
      return Response.json(
        { ...answer, capabilities: member.capabilities },
        { status, headers: etagOf(answer) },
      );
    },
  };
}

function etagOf(answer: object): Record<string, string> {
  return "version" in answer ? { etag: `"${String(answer.version)}"` } : {};
}

async function bodyOf(exchange: Exchange, schema: z.ZodType): Promise<unknown> {
  return schema === noBody ? undefined : await readJsonBody(exchange.request);
}

/** Throws `capability_missing` unless the member has one of them. */
export function requireCapability(member: Member, capabilities: readonly Capability[]): void {
  if (!capabilities.some((capability) => member.capabilities.includes(capability))) {
    const needed = capabilities.join(" or ");
    throw new PublicError(
      "capability_missing",
      `Your role (${member.role ?? "none"}) does not allow this: it needs ${needed}.`,
    );
  }
}
