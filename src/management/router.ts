/** The resources as Elysia instances, one each, and what is said where no route fits. */
import { type AnyElysia, Elysia } from "elysia";
import { PublicError } from "../errors.ts";
import type { Exchange, Resource } from "./endpoint.ts";
import { operationDetail } from "./operation-detail.ts";
import { MethodNotAllowedError, problemResponse, refusalOf } from "./problem.ts";

const PREFIX = "/management";

/**
 * Elysia looks for the path behind the eleventh character of an address, so that a short host name
 * (`http://ai/…`) would hide it. It is given this host instead; nothing else reads it.
 */
const ROUTING_BASE = "http://management.invalid";

export type Router = {
  /** What is thrown on the way is answered as a problem. */
  answer(exchange: Exchange): Promise<Response>;
  /** One instance a resource, for the documentation. */
  readonly apps: readonly AnyElysia[];
};

export function createRouter(resources: readonly Resource[]): Router {
  const exchanges = new WeakMap<Request, Exchange>();
  const exchangeOf = (request: Request): Exchange => {
    const exchange = exchanges.get(request);
    if (exchange === undefined) {
      throw new Error("a request reached the router by another way than answer()");
    }
    return exchange;
  };
  const apps = resources.map((resource) => appOf(resource, exchangeOf));
  const root = newElysia().onError(({ code, error, request }) =>
    answerRefusal(
      code === "NOT_FOUND" ? noRoute(resources, exchangeOf(request).request) : error,
      exchangeOf(request),
    ),
  );
  for (const app of apps) {
    root.use(app);
  }
  return {
    apps,
    answer: async (exchange) => {
      const { pathname, search } = new URL(exchange.request.url);
      // Without a body: the endpoint reads that itself, with a limit.
      const routed = new Request(`${ROUTING_BASE}${pathname}${search}`, {
        method: exchange.request.method === "HEAD" ? "GET" : exchange.request.method,
      });
      exchanges.set(routed, exchange);
      return await root.handle(routed);
    },
  };
}

/** Answers what was thrown as a problem and leaves it on the exchange for the log. */
export function answerRefusal(thrown: unknown, exchange: Exchange): Response {
  exchange.refusal = refusalOf(thrown);
  return problemResponse(exchange.refusal, exchange.requestId);
}

function appOf(resource: Resource, exchangeOf: (request: Request) => Exchange): AnyElysia {
  const app = newElysia(PREFIX + resource.prefix);
  for (const endpoint of resource.endpoints) {
    app.route(
      endpoint.method,
      endpoint.path,
      async ({ request, params }) => {
        const exchange = exchangeOf(request);
        exchange.route = `${PREFIX}${resource.prefix}${endpoint.path}`;
        return await endpoint.respond(exchange, params);
      },
      { detail: operationDetail(resource, endpoint) },
    );
  }
  return app;
}

/** `aot` would read the source text of handlers, which the compiled executable does not keep. */
function newElysia(prefix = "") {
  return new Elysia({ aot: false, prefix });
}

function noRoute(resources: readonly Resource[], request: Request): PublicError {
  const path = new URL(request.url).pathname;
  const allowed = resources.flatMap(({ prefix, endpoints }) =>
    endpoints
      .filter((endpoint) => isPathOf(`${PREFIX}${prefix}${endpoint.path}`, path))
      .flatMap(({ method }) => (method === "GET" ? ["GET", "HEAD"] : [method])),
  );
  return allowed.length > 0
    ? new MethodNotAllowedError(allowed)
    : new PublicError("unknown_route", "The management API has no such route. See /docs.");
}

function isPathOf(template: string, path: string): boolean {
  const expected = template.split("/");
  const actual = path.replace(/\/$/, "").split("/");
  return (
    expected.length === actual.length &&
    expected.every((part, index) => part.startsWith(":") || part === actual[index])
  );
}
