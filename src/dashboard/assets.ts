/**
 * The dashboard's files as HTTP bodies and headers, keyed by URL path. In the executable they were
 * embedded by the build under `dist/dashboard/`; from source they are bundled on the fly.
 * Sending them, and answering `if-none-match`, is the HTTP server's work.
 */
import { ASSET_PATH, type BundledFile, baseName, bundleDashboard, PAGE_NAME } from "./bundle.ts";

/** A file ready to be sent. */
export interface DashboardAsset {
  readonly body: Uint8Array<ArrayBuffer> | Blob;
  readonly headers: Readonly<Record<string, string>>;
}

/** Part of the path of every embedded dashboard file; the build writes them to such a folder. */
const EMBEDDED_FOLDER = "dashboard/";

const CONTENT_TYPES: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  css: "text/css; charset=utf-8",
  svg: "image/svg+xml",
};

// The page needs nothing but its own origin. uPlot and Preact style elements through the object
// model, which `style-src 'self'` permits.
const CONTENT_SECURITY_POLICY = [
  "default-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "object-src 'none'",
  "base-uri 'none'",
  "form-action 'self'",
  "frame-ancestors 'none'",
].join("; ");

const SECURITY_HEADERS = {
  "content-security-policy": CONTENT_SECURITY_POLICY,
  "x-content-type-options": "nosniff",
  "referrer-policy": "same-origin",
} as const;

/**
 * The dashboard by URL path: `/` is the page, `/assets/<name>-<hash>.<ext>` is everything that it
 * refers to. Throws when the executable holds no page, or the sources do not compile.
 */
export async function loadDashboardAssets(): Promise<ReadonlyMap<string, DashboardAsset>> {
  const embedded = await embeddedFiles();
  const files = embedded.length > 0 ? embedded : await bundleDashboard();
  const assets = new Map(files.map((file) => [urlPath(file.name), assetOf(file)]));
  if (!assets.has("/")) throw new Error(`the dashboard has no ${PAGE_NAME}`);
  return assets;
}

async function embeddedFiles(): Promise<BundledFile[]> {
  const blobs = Bun.embeddedFiles.filter((blob) => nameOf(blob).includes(EMBEDDED_FOLDER));
  return Promise.all(
    blobs.map(async (blob) => ({
      name: baseName(nameOf(blob)),
      content: new Uint8Array(await blob.arrayBuffer()),
    })),
  );
}

/** Bun names embedded blobs, but its types do not say so. */
function nameOf(blob: Blob): string {
  return "name" in blob && typeof blob.name === "string" ? blob.name : "";
}

function urlPath(name: string): string {
  return name === PAGE_NAME ? "/" : ASSET_PATH + name;
}

function assetOf({ name, content }: BundledFile): DashboardAsset {
  const extension = name.slice(name.lastIndexOf(".") + 1);
  const contentType = CONTENT_TYPES[extension] ?? "application/octet-stream";
  return {
    body: new Uint8Array(content),
    headers: { "content-type": contentType, ...cacheHeaders(name, content), ...SECURITY_HEADERS },
  };
}

// The page must change with the release; what it refers to has a new name whenever it changes.
function cacheHeaders(name: string, content: Uint8Array): Record<string, string> {
  if (name !== PAGE_NAME) return { "cache-control": "public, max-age=31536000, immutable" };
  const digest = new Bun.CryptoHasher("sha256").update(content).digest("base64url");
  return { "cache-control": "no-cache", etag: `"${digest}"` };
}
