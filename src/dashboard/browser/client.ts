/** The one way in which the page speaks to the management API: JSON over the page's own origin. */
import type * as z from "zod/mini";
import { problemAnswer } from "./answers.ts";
import { type Failure, ManagementError } from "./failure.ts";

const REQUEST_TIMEOUT_MS = 10_000;
const DECIMAL_DIGITS = /^\d{1,9}$/;
// What a proxy in front of the appliance answers, in its own format, while the appliance is away.
const GATEWAY_STATUSES: ReadonlySet<number> = new Set([502, 503, 504]);

type Method = "GET" | "POST" | "DELETE";

/**
 * Asks `/management` + `path` and reads the answer with `schema`.
 * Throws `ManagementError` when there is no answer, a refusal, or an answer of another shape.
 */
export async function askManagement<Schema extends z.ZodMiniType>(
  method: Method,
  path: string,
  schema: Schema,
  body?: unknown,
): Promise<z.infer<Schema>> {
  const response = await send(method, path, body);
  const content = await readJson(response);
  if (!response.ok) throw new ManagementError(refusal(response, content));
  const parsed = schema.safeParse(content);
  if (!parsed.success) throw new ManagementError({ kind: "unreadable" });
  return parsed.data;
}

/** Sends something whose success has no body, such as signing out. */
export async function tellManagement(method: Method, path: string): Promise<void> {
  const response = await send(method, path, undefined);
  if (!response.ok) throw new ManagementError(refusal(response, await readJson(response)));
}

async function send(method: Method, path: string, body: unknown): Promise<Response> {
  const headers: Record<string, string> = { accept: "application/json, application/problem+json" };
  if (body !== undefined) headers["content-type"] = "application/json";
  try {
    return await fetch(`/management${path}`, {
      method,
      headers,
      cache: "no-store",
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  } catch {
    // `fetch` says the same for a refused connection, a lost name and a timeout.
    throw new ManagementError({ kind: "unreachable" });
  }
}

/** The body, or `undefined` when it is not JSON; the status decides what that means. */
async function readJson(response: Response): Promise<unknown> {
  let text: string;
  try {
    text = await response.text();
  } catch {
    throw new ManagementError({ kind: "unreachable" });
  }
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function refusal(response: Response, content: unknown): Failure {
  const problem = problemAnswer.safeParse(content);
  if (!problem.success && GATEWAY_STATUSES.has(response.status)) return { kind: "unreachable" };
  const { detail, title, request_id, errors } = problem.success ? problem.data : {};
  return {
    kind: "refused",
    httpStatus: response.status,
    detail: detail ?? title ?? `The server answered with status ${response.status}.`,
    requestId: request_id ?? null,
    retryAfterSeconds: retryAfterSeconds(response),
    fields: errors ?? [],
  };
}

// RFC 9110 also allows a date here; our server sends seconds.
function retryAfterSeconds(response: Response): number | null {
  const value = response.headers.get("retry-after") ?? "";
  return DECIMAL_DIGITS.test(value) ? Number(value) : null;
}
