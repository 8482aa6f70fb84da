/**
 * Which sites may use the API from a browser. Cookies are `SameSite=Strict` already; this also
 * refuses another site of the same domain, and tells browsers which origins may read the answers.
 */
import { PublicError } from "../errors.ts";

type OriginRules = { publicUrl: string; allowedOrigins: readonly string[] };

const READING_METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS"]);
const PREFLIGHT_SECONDS_MAX = 600;

/** Throws `wrong_origin` for a changing request that comes from a page of another site. */
export function refuseForeignOrigin(request: Request, rules: OriginRules): void {
  const origin = request.headers.get("origin");
  if (origin === null || READING_METHODS.has(request.method)) {
    return;
  }
  const { origin: asReceived, host } = new URL(request.url);
  // A proxy that ends TLS hands the request on as http; the browser's page was https.
  const own = [new URL(rules.publicUrl).origin, asReceived, `https://${host}`];
  if (!own.includes(origin) && !rules.allowedOrigins.includes(origin)) {
    throw new PublicError("wrong_origin");
  }
}

/** What a browser needs to hand the answer to a page of an allowed origin; nothing for others. */
export function addCorsHeaders(headers: Headers, request: Request, rules: OriginRules): void {
  if (rules.allowedOrigins.length === 0) {
    return;
  }
  headers.append("vary", "Origin");
  const origin = request.headers.get("origin");
  if (origin === null || !rules.allowedOrigins.includes(origin)) {
    return;
  }
  headers.set("access-control-allow-origin", origin);
  headers.set("access-control-allow-credentials", "true");
  headers.set("access-control-expose-headers", "x-request-id, retry-after, etag");
  if (request.method === "OPTIONS") {
    headers.set("access-control-allow-methods", "GET, POST, PATCH, DELETE");
    headers.set(
      "access-control-allow-headers",
      "content-type, if-match, authorization, x-spendra-organization",
    );
    headers.set("access-control-max-age", String(PREFLIGHT_SECONDS_MAX));
  }
}
