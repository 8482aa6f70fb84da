/**
 * The one public listener. Knows paths and HTTP, and gets everything that answers as functions, so
 * that it imports no part of the program. Inference runs on raw routes: nothing stands between a
 * provider's stream and the socket.
 */
import type { ListenAddress } from "../config.ts";
import type { Log } from "../log.ts";
import type { Health } from "./health.ts";
import { openListener } from "./listen-error.ts";

/** A static page or file: body and headers. */
export type PageAsset = {
  readonly body: Uint8Array<ArrayBuffer> | Blob;
  readonly headers: Readonly<Record<string, string>>;
};

export type PublicListenerOptions = {
  readonly listen: ListenAddress;
  readonly log: Log;
  readonly health: Health;
  /** Everything below /v1. */
  readonly inference: (request: Request) => Promise<Response>;
  /** Everything below /management. */
  readonly management: (request: Request, clientAddress: string) => Promise<Response>;
  readonly openApiDocument: () => Promise<unknown>;
  /** Answers with GET, by path. */
  readonly pages: ReadonlyMap<string, () => Response>;
  readonly assets: ReadonlyMap<string, PageAsset>;
};

/** Above the gateway's own limit: the route refuses a large body in the caller's dialect. */
const BODY_BYTES_MAX = 1024 * 1024 * 1024;
/** The most that Bun allows; inference requests switch it off for themselves. */
const IDLE_TIMEOUT_SECONDS = 255;

/** Starts to listen. Throws when the address is taken. */
export function servePublic(options: PublicListenerOptions): Bun.Server<undefined> {
  const { health, log } = options;
  return openListener("SPENDRA_LISTEN", options.listen, () =>
    Bun.serve({
      hostname: options.listen.host,
      port: options.listen.port,
      idleTimeout: IDLE_TIMEOUT_SECONDS,
      maxRequestBodySize: BODY_BYTES_MAX,
      development: false,
      routes: {
        "/v1/*": (request, server) => {
          // A model may think in silence for longer than any idle timeout.
          server.timeout(request, 0);
          return hasAddress(request) ? options.inference(request) : noAddress();
        },
        "/management/*": (request, server) =>
          hasAddress(request)
            ? options.management(request, server.requestIP(request)?.address ?? "")
            : noAddress(),
        "/openapi.json": { GET: async () => Response.json(await options.openApiDocument()) },
        "/health": { GET: () => health.health() },
        "/health/live": { GET: () => health.live() },
        "/live": { GET: () => health.live() },
        "/health/ready": { GET: () => health.ready() },
        "/ready": { GET: () => health.ready() },
      },
      fetch: (request) => (hasAddress(request) ? answerPage(request, options) : noAddress()),
      error: (error) => {
        log.error("http.unforeseen", { error });
        return new Response("internal error\n", { status: 500 });
      },
    }),
  );
}

/** The address is put together from the Host header, in which a caller may write anything. */
function hasAddress(request: Request): boolean {
  return URL.canParse(request.url);
}

function noAddress(): Response {
  return new Response("The Host header does not name a host.\n", { status: 400 });
}

function answerPage(request: Request, { pages, assets }: PublicListenerOptions): Response {
  const { pathname } = new URL(request.url);
  const page = pages.get(pathname);
  const asset = assets.get(pathname);
  if (page === undefined && asset === undefined) {
    return new Response("There is nothing here. The dashboard is at /, the API at /docs.\n", {
      status: 404,
    });
  }
  if (request.method !== "GET" && request.method !== "HEAD") {
    return new Response(null, { status: 405, headers: { allow: "GET, HEAD" } });
  }
  return page?.() ?? answerAsset(request, asset);
}

function answerAsset(request: Request, asset: PageAsset | undefined): Response {
  const headers = asset?.headers ?? {};
  if (headers["etag"] !== undefined && request.headers.get("if-none-match") === headers["etag"]) {
    return new Response(null, { status: 304, headers });
  }
  return new Response(asset?.body ?? null, { headers });
}
