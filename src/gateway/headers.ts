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

const NEVER_UPSTREAM: readonly string[] = [
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
];

const NEVER_DOWNSTREAM: readonly string[] = [
  ...CONNECTION_HEADERS,
  "set-cookie",
  "authorization",
  "x-request-id",
];

/** RFC 9110 §5.6.2, a token. */
const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** What goes to the provider. Any header that carries the Spendra token is left behind as well. */
export function upstreamHeaders(
  caller: Headers,
  credentials: Readonly<Record<string, string>>,
  token: string,
): Headers {
  const headers = copyWithout(caller, NEVER_UPSTREAM);
  const ours: string[] = [];
  for (const [name, value] of headers) {
    if (name.startsWith("x-spendra-") || value.includes(token)) {
      ours.push(name);
    }
  }
  for (const name of ours) {
    headers.delete(name);
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
  const headers = copyWithout(provider, NEVER_DOWNSTREAM);
  const providerRequestId = provider.get("x-request-id");
  if (providerRequestId !== null) {
    headers.set("x-provider-request-id", providerRequestId);
  }
  return headers;
}

/** A copy and deletions: a tenth of the cost of adding a provider's 25 headers one by one. */
function copyWithout(from: Headers, never: readonly string[]): Headers {
  const headers = new Headers(from);
  for (const name of [...never, ...namedByConnection(from)]) {
    headers.delete(name);
  }
  return headers;
}

/** What is no name cannot be a header's, and must not be asked for. */
function namedByConnection(headers: Headers): readonly string[] {
  const names = headers.get("connection")?.split(",") ?? [];
  return names.map((name) => name.trim()).filter((name) => HEADER_NAME.test(name));
}
