/**
 * Swagger UI at /docs, with every file inside the executable: the page asks no other host for
 * anything, and its content security policy would not let it.
 */
import faviconPath from "swagger-ui-dist/favicon-32x32.png" with { type: "file" };
import stylesPath from "swagger-ui-dist/swagger-ui.css" with { type: "file" };
import bundlePath from "swagger-ui-dist/swagger-ui-bundle.js" with { type: "file" };

const ASSETS = "/docs/assets";
const ASSET_SECONDS_MAX = 86_400;

const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  // Swagger UI writes style attributes.
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

const PAGE = `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>Spendra API</title>
    <link rel="icon" type="image/png" href="${ASSETS}/favicon.png">
    <link rel="stylesheet" href="${ASSETS}/swagger-ui.css">
  </head>
  <body>
    <main id="documentation"></main>
    <script src="${ASSETS}/swagger-ui-bundle.js"></script>
    <script src="${ASSETS}/start.js"></script>
  </body>
</html>
`;

/** A file of its own, because the policy allows no script inside the page. */
const START_SCRIPT = `SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#documentation",
  deepLinking: true,
  // Null, or Swagger UI would send the document to a validator on the internet.
  validatorUrl: null,
  withCredentials: true,
  defaultModelsExpandDepth: 0,
  presets: [SwaggerUIBundle.presets.apis],
});
`;

/** What to answer with GET, by path. /openapi.json, which the page reads, is not among them. */
export function docsRoutes(): ReadonlyMap<string, () => Response> {
  const page = () => textResponse(PAGE, "text/html; charset=utf-8", "no-cache");
  return new Map([
    ["/docs", page],
    ["/docs/", page],
    [
      `${ASSETS}/start.js`,
      () => textResponse(START_SCRIPT, "text/javascript; charset=utf-8", "no-cache"),
    ],
    [
      `${ASSETS}/swagger-ui-bundle.js`,
      () => fileResponse(bundlePath, "text/javascript; charset=utf-8"),
    ],
    [`${ASSETS}/swagger-ui.css`, () => fileResponse(stylesPath, "text/css; charset=utf-8")],
    [`${ASSETS}/favicon.png`, () => fileResponse(faviconPath, "image/png")],
  ]);
}

function fileResponse(path: string, contentType: string): Response {
  const cacheControl = `public, max-age=${ASSET_SECONDS_MAX}`;
  return new Response(Bun.file(path), { headers: headersOf(contentType, cacheControl) });
}

function textResponse(text: string, contentType: string, cacheControl: string): Response {
  return new Response(text, { headers: headersOf(contentType, cacheControl) });
}

function headersOf(contentType: string, cacheControl: string): Record<string, string> {
  return {
    "content-type": contentType,
    "cache-control": cacheControl,
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
  };
}
