/**
 * A route for people who signed in: who may call it, what it takes, what it answers and its
 * documentation, all from the same zod schemas. A resource's file is a list of these.
 */
import { z } from "zod";
import type { Change } from "../audit/audit-event.ts";
import type { Sql } from "../database/client.ts";
import { PublicError } from "../errors.ts";
import { CAPABILITIES, type Capability } from "../identity/capability.ts";
import { findMember, type Member } from "../identity/session.ts";
import type { Dependencies } from "./dependencies.ts";
import { type Endpoint, type Exchange, type Method, noBody } from "./endpoint.ts";
import { parseWith, readJsonBody, readQuery } from "./parse.ts";
import { readSessionCookie } from "./session-cookie.ts";

type Shape<
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
  answerExample: z.output<Answer>;
  status?: 200 | 201;
  run(call: Call<Params, Query, Body>): Promise<z.output<Answer>>;
};

type Call<Params extends z.ZodType, Query extends z.ZodType, Body extends z.ZodType> = {
  params: z.output<Params>;
  query: z.output<Query>;
  body: z.output<Body>;
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
>({ sql, config }: Dependencies, shape: Shape<Params, Query, Body, Answer>): Endpoint {
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
      const member = await requireMember(sql, exchange, config.publicUrl);
      requireCapability(member, capabilities);
      const answer = await shape.run({
        params: parseWith(shape.params, params),
        query: parseWith(shape.query, readQuery(exchange.request)),
        body: parseWith(shape.body, await bodyOf(exchange, shape.body)),
        member,
        now: exchange.now,
        change: { userId: member.user.id, requestId: exchange.requestId, at: exchange.now },
      });
      return Response.json({ ...answer, capabilities: member.capabilities }, { status });
    },
  };
}

async function bodyOf(exchange: Exchange, schema: z.ZodType): Promise<unknown> {
  return schema === noBody ? undefined : await readJsonBody(exchange.request);
}

/** The signed-in member. Throws `not_signed_in`. */
export async function requireMember(
  sql: Sql,
  exchange: Exchange,
  publicUrl: string,
): Promise<Member> {
  const token = readSessionCookie(exchange.request, publicUrl);
  const member = token === null ? null : await findMember(sql, token, exchange.now);
  if (member === null) {
    throw new PublicError("not_signed_in");
  }
  exchange.member = member;
  return member;
}

function requireCapability(member: Member, capabilities: readonly Capability[]): void {
  if (!capabilities.some((capability) => member.capabilities.includes(capability))) {
    const needed = capabilities.join(" or ");
    throw new PublicError(
      "capability_missing",
      `Your role (${member.role ?? "none"}) does not allow this: it needs ${needed}.`,
    );
  }
}
