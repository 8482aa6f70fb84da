/**
 * Makes the executable: `bun appliance/build.ts [--target linux-arm64] [--outfile dist/spendra]`.
 *
 * What the program finds inside (measured with Bun 1.4.5):
 * - `Bun.embeddedFiles` holds every embedded file; `name` is its path from the repository's root:
 *   the dashboard's as `dist/dashboard/<name>`, those of npm packages as
 *   `node_modules/<package>/<path>`. `type` follows from the extension.
 * - `import path from "package/file.css" with { type: "file" }` gives a path below `/$bunfs/root/`,
 *   which `Bun.file` and `node:fs` read. The same import works from source.
 * - `process.env.SPENDRA_BUILD_VERSION` and `process.env.SPENDRA_BUILD_COMMIT` are constants; from
 *   source they are undefined.
 */

import { mkdir, mkdtemp, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import packageJson from "../package.json" with { type: "json" };
import { type BundledFile, bundleDashboard } from "../src/dashboard/bundle.ts";
import { isDriverMended } from "./patch-driver.ts";

const root = resolve(import.meta.dir, "..");
const DASHBOARD_DIRECTORY = join(root, "dist", "dashboard");
const EMBEDDING_FILE = join(root, "dist", "embedded-dashboard.ts");

const targets = {
  "linux-x64": "bun-linux-x64",
  "linux-arm64": "bun-linux-arm64",
} as const;

const startedAtMs = performance.now();
const options = parseArgs({
  options: { target: { type: "string" }, outfile: { type: "string", default: "dist/spendra" } },
}).values;
const outfile = resolve(root, options.outfile);
await build(outfile, chooseTarget(options.target));
const megabytes = ((await stat(outfile)).size / 1_000_000).toFixed(1);
const seconds = ((performance.now() - startedAtMs) / 1000).toFixed(1);
console.log(`${options.outfile}: ${megabytes} MB in ${seconds} s`);

/** Undefined: this machine. */
function chooseTarget(name: string | undefined): Bun.Build.CompileTarget | undefined {
  if (name === undefined) return undefined;
  if (name in targets) return targets[name as keyof typeof targets];
  throw new Error(`--target must be one of ${Object.keys(targets).join(", ")}`);
}

/**
 * Builds beside the destination and renames: nobody sees half a file, and an executable that is
 * running can be replaced. Equal base names keep the builds equal, byte for byte.
 */
async function build(destination: string, target: Bun.Build.CompileTarget | undefined) {
  await mkdir(dirname(destination), { recursive: true });
  const workshop = await mkdtemp(join(dirname(destination), ".build-"));
  try {
    const draft = join(workshop, basename(destination));
    await compile(draft, target, await bundleDashboard());
    await rename(draft, destination);
    // A copy of the source map travels inside, for stack traces; this one is for other tools.
    await rename(`${draft}.map`, `${destination}.map`);
  } finally {
    await rm(workshop, { recursive: true, force: true });
  }
}

async function compile(
  file: string,
  target: Bun.Build.CompileTarget | undefined,
  dashboard: readonly BundledFile[],
): Promise<void> {
  if (!(await isDriverMended())) {
    throw new Error("the database driver is not mended: build with `npm run build`");
  }
  await Bun.build({
    entrypoints: [join(root, "src", "main.ts"), EMBEDDING_FILE],
    root,
    files: embeddingSources(dashboard),
    compile: {
      ...(target ? { target } : {}),
      outfile: file,
      // The directory it starts in must not be able to configure it.
      autoloadDotenv: false,
      autoloadBunfig: false,
    },
    format: "esm",
    bytecode: true,
    // Identifiers stay: names in stack traces are worth more than a few kilobytes of 110 MB.
    minify: { whitespace: true, syntax: true, identifiers: false },
    sourcemap: "linked",
    naming: { asset: "[dir]/[name].[ext]" },
    define: {
      "process.env.SPENDRA_BUILD_VERSION": JSON.stringify(packageJson.version),
      "process.env.SPENDRA_BUILD_COMMIT": JSON.stringify(readCommit()),
    },
  });
}

/**
 * A second entry point that never runs: its imports are what puts the dashboard's files into the
 * executable. These sources exist only in memory.
 */
function embeddingSources(dashboard: readonly BundledFile[]): Record<string, Uint8Array | string> {
  const imports = dashboard.map(
    ({ name }) => `import "./dashboard/${name}" with { type: "file" };\n`,
  );
  const sources: Record<string, Uint8Array | string> = { [EMBEDDING_FILE]: imports.join("") };
  for (const { name, content } of dashboard) sources[join(DASHBOARD_DIRECTORY, name)] = content;
  return sources;
}

/** The commit, `-dirty` when the sources differ from it, `unknown` outside a clone. */
function readCommit(): string {
  const git = (...gitArguments: string[]) => {
    if (Bun.which("git") === null) return undefined;
    const outcome = Bun.spawnSync(["git", ...gitArguments], { cwd: root, stderr: "ignore" });
    return outcome.success ? outcome.stdout.toString().trim() : undefined;
  };
  const commit = git("rev-parse", "--short=12", "HEAD");
  if (!commit) return "unknown";
  return git("status", "--porcelain") === "" ? commit : `${commit}-dirty`;
}
