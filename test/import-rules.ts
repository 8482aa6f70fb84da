/**
 * Who may import whom (docs/ARCHITECTURE.md): edges, then domains, then the database, then the
 * root files; wiring happens in `src/app.ts`.
 */

const edges = ["gateway", "management", "scheduler", "cli", "dashboard"];

/** Forbidden between domains, with the reason. */
const forbiddenDomains: readonly { from: string; to: RegExp; reason: string }[] = [
  {
    from: "ledger",
    to: /^(budgets|reservations)$/,
    reason: "the ledger knows nobody; let the caller hand it what it needs",
  },
  {
    from: "providers",
    to: /^database$/,
    reason: "providers translate and transport; let the domain read and write",
  },
];

/** Which imports a layer may have, as the layers' names. */
const allowed: Readonly<Record<string, readonly string[]>> = {
  main: [],
  app: ["edge", "browser", "domain", "database", "root"],
  edge: ["domain", "database", "root"],
  dashboard: ["root"],
  browser: [],
  domain: ["domain", "database", "root"],
  database: ["root"],
  root: ["root"],
};

/** Why this import is not allowed, and what to do instead; undefined when it is. */
export function importViolation(from: string, to: string): string | undefined {
  const [source, target] = [layerOf(from), layerOf(to)];
  const [sourceFolder, targetFolder] = [folderOf(from), folderOf(to)];
  const forbidden = forbiddenDomains.find(
    (rule) => rule.from === sourceFolder && rule.to.test(targetFolder),
  );
  if (forbidden) return forbidden.reason;
  // SQL, package.json and the like are data of the file that reads them.
  if (target === "data" || (source === target && sourceFolder === targetFolder)) return undefined;
  if (source === "main") return targetFolder === "cli" ? undefined : "main.ts imports only src/cli";
  if (sourceFolder === "cli" && target === "app") return undefined;
  if (target === "dashboard" && source === "app") return undefined;
  if (allowed[source]?.includes(target)) return undefined;
  return source === "edge" && target === "edge"
    ? "edges do not import each other; wire them together in src/app.ts"
    : `${source} files may import only ${(allowed[source] ?? []).join(", ") || "their own folder"}`;
}

/** What kind of file this is, in the words of `allowed`. */
function layerOf(path: string): string {
  if (!/^src\/.*\.(ts|tsx|html|css)$/.test(path)) return "data";
  if (path === "src/main.ts") return "main";
  if (path === "src/app.ts") return "app";
  if (path.startsWith("src/dashboard/browser/")) return "browser";
  const folder = folderOf(path);
  if (folder === "") return "root";
  if (folder === "database" || folder === "dashboard") return folder;
  return edges.includes(folder) ? "edge" : "domain";
}

/** The folder below `src`; empty for root files. */
function folderOf(path: string): string {
  return /^src\/([^/]+)\//.exec(path)?.[1] ?? "";
}

/** Every cycle once, as the paths on it; the first stands at the end again. */
export function findCycles(graph: ReadonlyMap<string, readonly string[]>): string[][] {
  const cycles: string[][] = [];
  const finished = new Set<string>();
  const visit = (path: string, trail: readonly string[]) => {
    const start = trail.indexOf(path);
    if (start >= 0) cycles.push([...trail.slice(start), path]);
    if (start >= 0 || finished.has(path)) return;
    for (const next of graph.get(path) ?? []) visit(next, [...trail, path]);
    finished.add(path);
  };
  for (const path of graph.keys()) visit(path, []);
  return cycles;
}
