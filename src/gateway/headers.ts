/**
 * Which headers cross the gateway. Unknown ones pass in both directions; what belongs to one
 * connection does not, the caller's credentials never go up, and the provider's never come down.
 */

/** RFC 9110 §7.6.1, and what the HTTP client of each side writes itself. */
const CONNECTION_HEADERS = [
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "expect",
  "content-length",
  "content-encoding",
];

const NEVER_UPSTREAM: ReadonlySet<string> = new Set([
  ...CONNECTION_HEADERS,
  "host",
  "authorization",
  "api-key",
  "x-api-key",
  "x-goog-api-key",
  "cookie",
  "accept-encoding",
  // Would choose the account that our credential's calls are billed to.
  "openai-organization",
  "openai-project",
  // The caller's own name for the request; ours is in the log and in the ledger.
  "x-request-id",
]);

const NEVER_DOWNSTREAM: ReadonlySet<string> = new Set([
  ...CONNECTION_HEADERS,
  "set-cookie",
  "authorization",
  "x-request-id",
]);

/** What goes to the provider. Any header that carries the Spendra token is left behind as well. */
export function upstreamHeaders(
  caller: Headers,
  credentials: Readonly<Record<string, string>>,
  token: string,
): Headers {
  const headers = new Headers();
  const hopByHop = namedByConnection(caller);
  for (const [name, value] of caller) {
    const isOurs = NEVER_UPSTREAM.has(name) || name.startsWith("x-spendra-");
    if (!isOurs && !hopByHop.has(name) && !value.includes(token)) {
      headers.append(name, value);
    }
  }
  headers.set("content-type", "application/json");
  // Usage is read on the side, so the stream must not be compressed.
  headers.set("accept-encoding", "identity");
  for (const [name, value] of Object.entries(credentials)) {
    headers.set(name, value);
  }
  return headers;
}

/** What goes back to the caller, before Spendra's own headers. */
export function downstreamHeaders(provider: Headers): Headers {
  const headers = new Headers();
  const hopByHop = namedByConnection(provider);
  for (const [name, value] of provider) {
    if (!NEVER_DOWNSTREAM.has(name) && !hopByHop.has(name)) {
      headers.append(name, value);
    }
  }
  const providerRequestId = provider.get("x-request-id");
  if (providerRequestId !== null) {
    headers.set("x-provider-request-id", providerRequestId);
  }
  return headers;
}

function namedByConnection(headers: Headers): ReadonlySet<string> {
  const names = headers.get("connection")?.toLowerCase().split(",") ?? [];
  return new Set(names.map((name) => name.trim()));
}
