/** `/metrics` on a listener of its own, for those who hold its token. Never on the public one. */
import { createHash, timingSafeEqual } from "node:crypto";
import type { Registry } from "prom-client";
import type { ListenAddress } from "../config.ts";
import { PublicError } from "../errors.ts";
import type { Secret } from "../secret.ts";
import { openListener } from "./listen-error.ts";

type MetricsListenerOptions = {
  listen: ListenAddress;
  bearerToken: Secret;
  registry: Registry;
  /** Brings gauges up to date before they are read. */
  refresh: () => Promise<void>;
};

/** Starts to listen. Throws when the address is taken. */
export function serveMetrics(options: MetricsListenerOptions): Bun.Server<undefined> {
  return openListener("SPENDRA_METRICS_LISTEN", options.listen, () =>
    Bun.serve({
      hostname: options.listen.host,
      port: options.listen.port,
      // Bun's own error page would show source code.
      development: false,
      routes: { "/metrics": (request) => answer(request, options) },
      fetch: () => new Response("not found\n", { status: 404 }),
    }),
  );
}

async function answer(request: Request, options: MetricsListenerOptions): Promise<Response> {
  if (!isAuthorised(request, options.bearerToken)) {
    const { status, code, message } = new PublicError("metrics_token_invalid");
    const headers = { "www-authenticate": "Bearer" };
    return Response.json({ error: { code, message } }, { status, headers });
  }
  await options.refresh();
  const body = await options.registry.metrics();
  return new Response(body, { headers: { "content-type": options.registry.contentType } });
}

function isAuthorised(request: Request, bearerToken: Secret): boolean {
  const presented = request.headers.get("authorization") ?? "";
  // Digests have one length, so that the comparison tells nothing of the token's.
  return timingSafeEqual(digest(presented), digest(`Bearer ${bearerToken.reveal()}`));
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
