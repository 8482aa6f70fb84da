/**
 * Makes the dashboard's files out of `browser/`: one page, one script, one style sheet, one icon.
 * It knows how files are made; `assets.ts` knows how they are served.
 */
import { join } from "node:path";

/** One file of the bundle; `name` has no folder. */
export interface BundledFile {
  readonly name: string;
  readonly content: Uint8Array;
}

/** Where the page's script, style sheet and icon are served. */
export const ASSET_PATH = "/assets/";

/** The page itself; every other file carries a hash of its content in its name. */
export const PAGE_NAME = "index.html";

const ENTRY_FILE = join(import.meta.dir, "browser", "app.html");
const HASHED_NAME = "[name]-[hash].[ext]";

/**
 * Bundles the dashboard from source. The first file is `index.html`, which refers to the others
 * under `ASSET_PATH`. Throws what `Bun.build` throws when the sources do not compile.
 */
export async function bundleDashboard(): Promise<BundledFile[]> {
  const build = await Bun.build({
    entrypoints: [ENTRY_FILE],
    target: "browser",
    minify: true,
    publicPath: ASSET_PATH,
    naming: { entry: HASHED_NAME, chunk: HASHED_NAME, asset: HASHED_NAME },
    // Without this, Bun compiles JSX for development when NODE_ENV is unset.
    define: { "process.env.NODE_ENV": '"production"' },
  });
  const files = await Promise.all(
    build.outputs.map(async (output) => ({
      name: output.path.endsWith(".html") ? PAGE_NAME : baseName(output.path),
      content: new Uint8Array(await output.arrayBuffer()),
    })),
  );
  return files.sort((a, b) => Number(b.name === PAGE_NAME) - Number(a.name === PAGE_NAME));
}

/** The part of a path after its last slash. */
export function baseName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}
