/**
 * One HTTP call to a provider, with its time limits. Knows nothing of money: it answers the
 * provider's response, or says in which of three ways there is none.
 */

export type UpstreamCall = {
  readonly url: string;
  readonly headers: Headers;
  readonly body: Uint8Array<ArrayBuffer>;
  /** From the call to the response headers. */
  readonly firstByteTimeoutMs: number;
  /** From the call to the end of the body. */
  readonly totalTimeoutMs: number;
};

/** An answer whose body may still be coming. Its holder calls `finish` when done with it. */
export type Upstream = {
  readonly response: Response;
  /** Cuts the connection to the provider. */
  readonly abort: () => void;
  /** Stops the clock of the call. */
  readonly finish: () => void;
};

/**
 * `not_sent`: the provider cannot have seen the request. `lost`: it may have, and may bill it.
 * `timeout`: it has not answered in time, and may bill it.
 */
export type UpstreamFailure = "not_sent" | "lost" | "timeout";

export class UpstreamError extends Error {
  override readonly name = "UpstreamError";
  readonly failure: UpstreamFailure;

  constructor(failure: UpstreamFailure, cause: unknown) {
    super(`the provider call ended without an answer: ${failure}`, { cause });
    this.failure = failure;
  }
}

/** Error codes of Bun's fetch for connections that were never made. */
const NOT_SENT_CODES: ReadonlySet<string> = new Set([
  "ConnectionRefused",
  "ECONNREFUSED",
  "FailedToOpenSocket",
  "ENOTFOUND",
  "EAI_AGAIN",
  "ENETUNREACH",
  "EHOSTUNREACH",
  "CERT_HAS_EXPIRED",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "ERR_TLS_CERT_ALTNAME_INVALID",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
]);

/** Sends the call. Throws `UpstreamError`. A redirect is an answer: no credential follows one. */
export async function callUpstream(call: UpstreamCall): Promise<Upstream> {
  const cut = new AbortController();
  const abort = () => cut.abort();
  const totalTimer = setTimeout(abort, call.totalTimeoutMs);
  const firstByteTimer = setTimeout(abort, call.firstByteTimeoutMs);
  try {
    const response = await fetch(call.url, {
      method: "POST",
      headers: call.headers,
      body: call.body,
      redirect: "manual",
      signal: cut.signal,
    });
    return { response, abort, finish: () => clearTimeout(totalTimer) };
  } catch (cause) {
    clearTimeout(totalTimer);
    if (cut.signal.aborted) {
      throw new UpstreamError("timeout", cause);
    }
    throw new UpstreamError(wasNeverSent(cause) ? "not_sent" : "lost", cause);
  } finally {
    clearTimeout(firstByteTimer);
  }
}

function wasNeverSent(thrown: unknown): boolean {
  return (
    thrown instanceof Error &&
    "code" in thrown &&
    typeof thrown.code === "string" &&
    NOT_SENT_CODES.has(thrown.code)
  );
}
