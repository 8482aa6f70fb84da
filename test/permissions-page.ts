/**
 * The tables of docs/reference/permissions.md, made from the table of roles and from the OpenAPI
 * document. Run as a program it writes them into the page:
 * `sh appliance/with-bun.sh test/permissions-page.ts`.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { connect } from "../src/database/client.ts";
import {
  AUTOMATION_ROLES,
  automationCapabilitiesOf,
  CAPABILITIES,
  type Capability,
  capabilitiesOf,
  ROLES,
  type Role,
  sightOf,
} from "../src/identity/capability.ts";
import { mayAssignRole } from "../src/identity/role-rules.ts";
import { openManagement } from "./acme.ts";

export const PAGE = join(import.meta.dir, "..", "docs", "reference", "permissions.md");

export type Route = {
  method: string;
  /** With `{name}` for parameters. */
  path: string;
  /** Nobody has to sign in. */
  isOpen: boolean;
  /** One of these is needed; none: being signed in is enough. */
  capabilities: readonly Capability[];
  bodyExample: unknown;
  /** Of the path's parameters, by name. */
  idExamples: Readonly<Record<string, string>>;
};

type Operation = {
  security?: object[];
  parameters?: { name: string; schema?: { example?: string } }[];
  "x-capabilities"?: Capability[];
  requestBody?: { content: { "application/json"?: { example?: unknown } } };
};
type Document = { paths: Record<string, Record<string, Operation>> };

/** Every management route, in the order of path and method. */
export async function managementRoutes(): Promise<readonly Route[]> {
  // Never connected to: the document needs no database.
  const sql = connect("postgres://127.0.0.1:1/none", {
    connectionsMax: 1,
    applicationName: "none",
  });
  const document = (await openManagement(sql).management.openApiDocument()) as Document;
  await sql.end();
  return Object.entries(document.paths)
    .filter(([path]) => path.startsWith("/management/"))
    .flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({
        method: method.toUpperCase(),
        path: path.slice("/management".length),
        isOpen: operation.security?.length === 0,
        capabilities: operation["x-capabilities"] ?? [],
        bodyExample: operation.requestBody?.content["application/json"]?.example,
        idExamples: Object.fromEntries(
          (operation.parameters ?? [])
            .filter(({ name }) => path.includes(`{${name}}`))
            .map(({ name, schema }) => [name, schema?.example ?? ""]),
        ),
      })),
    )
    .sort((one, other) => sortKey(one).localeCompare(sortKey(other), "en"));
}

/** Whether the route lets the role through; what it then does with own work is another matter. */
export function mayCall(route: Route, role: Role | null): boolean {
  const held = capabilitiesOf(role);
  return route.isOpen || route.capabilities.length === 0
    ? true
    : route.capabilities.some((capability) => held.includes(capability));
}

/** The tables by the name of their marks in the page. */
export async function permissionTables(): Promise<Readonly<Record<string, string>>> {
  return {
    capabilities: tableOf("capability", CAPABILITIES, (capability, role) =>
      capabilitiesOf(role).includes(capability) ? markOf(role) : "",
    ),
    automation: `${automationGaps()
      .map((capability) => `\`${capability}\``)
      .join(", ")}`,
    granting: tableOf("gives, changes, takes", ROLES, (given, role) =>
      mayAssignRole(role, null, given) ? "✓" : "",
    ),
    routes: routeTable(await managementRoutes()),
  };
}

/** The page with its tables replaced. */
export function withTables(page: string, tables: Readonly<Record<string, string>>): string {
  return Object.entries(tables).reduce((text, [name, table]) => {
    const [start, end] = [`<!-- ${name} -->`, `<!-- end of ${name} -->`];
    const from = text.indexOf(start);
    const to = text.indexOf(end);
    if (from < 0 || to < from) {
      throw new Error(`permissions.md has no marks for "${name}"`);
    }
    return `${text.slice(0, from)}${start}\n\n${table}\n\n${text.slice(to)}`;
  }, page);
}

function sortKey({ path, method }: Route): string {
  return `${path} ${method}`;
}

function markOf(role: Role): string {
  const sees = sightOf(role);
  return sees === "everyone" ? "✓" : sees;
}

function automationGaps(): readonly Capability[] {
  return CAPABILITIES.filter((capability) =>
    AUTOMATION_ROLES.every((role) => !automationCapabilitiesOf(role).includes(capability)),
  );
}

function routeTable(routes: readonly Route[]): string {
  const lines = routes.map((route) => {
    const marks = [...ROLES, null].map((role) => (mayCall(route, role) ? "✓" : ""));
    return row([`\`${route.method} ${route.path}\``, ...marks, route.isOpen ? "✓" : ""]);
  });
  return [heading(["route", ...ROLES, "no role", "nobody"]), ...lines].join("\n");
}

function tableOf<Item extends string>(
  title: string,
  items: readonly Item[],
  cell: (item: Item, role: Role) => string,
): string {
  const lines = items.map((item) => row([`\`${item}\``, ...ROLES.map((role) => cell(item, role))]));
  return [heading([title, ...ROLES]), ...lines].join("\n");
}

function heading(cells: readonly string[]): string {
  return `${row(cells)}\n${row(cells.map(() => "---"))}`;
}

function row(cells: readonly string[]): string {
  return `| ${cells.join(" | ")} |`.replaceAll(/ +\|/g, " |");
}

if (import.meta.main) {
  writeFileSync(PAGE, withTables(readFileSync(PAGE, "utf8"), await permissionTables()));
}
