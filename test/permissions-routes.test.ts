/**
 * Every management route that there is, found in the OpenAPI document: as each role, without a
 * role, as nobody, with a session that is over, and with the ids of another organization. The page
 * docs/reference/permissions.md says the same.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { newId } from "../src/id.ts";
import { ROLES, type Role } from "../src/identity/capability.ts";
import { type Answer, addMember, type Company, foundCompany, openManagement } from "./acme.ts";
import {
  managementRoutes,
  mayCall,
  PAGE,
  permissionTables,
  type Route,
  withTables,
} from "./permissions-page.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";

/** What the guard in front of every route says; refusals behind it have other words. */
const REFUSED = /does not allow this: it needs/;

let database: TestDatabase;
let api: ReturnType<typeof openManagement>;
let globex: Company;
let routes: readonly Route[];
const tokens = new Map<Role | null, string>();
let endedToken: string;

beforeAll(async () => {
  database = await testDatabase();
  const { sql } = database;
  api = openManagement(sql);
  const { now } = api.time;
  const { organizationId } = await foundCompany(sql, "Acme", now);
  globex = await foundCompany(sql, "Globex", now);
  for (const role of [...ROLES, null]) {
    tokens.set(role, (await addMember(sql, { organizationId, role, now })).token);
  }
  ({ token: endedToken } = await addMember(sql, { organizationId, role: "org_admin", now }));
  await api.call("DELETE", "/session", { token: endedToken });
  await furnish(globex);
  await addReview(globex);
  routes = await managementRoutes();
});

afterAll(async () => {
  await database.drop();
});

/** One of each thing that a company of acme.ts does not have by itself. */
async function furnish({ organizationId, teamId }: Company): Promise<void> {
  const { now } = api.time;
  const { token } = await addMember(database.sql, { organizationId, role: "org_admin", now });
  for (const [path, body] of [
    ["/branches", { name: "North" }],
    ["/invitations", { email: "guest@globex.example", role: "auditor" }],
    ["/service-tokens", { name: "Export", role: "auditor" }],
    ["/blocks", { target: { kind: "team", id: teamId }, reason: "A test" }],
  ] as const) {
    const answer = await api.call("POST", path, { token, body });
    expect({ path, status: answer.status }).toEqual({ path, status: 201 });
  }
}

/** What only a call that needs an approval leaves behind. */
async function addReview({ organizationId, adaId, adaKeyId }: Company): Promise<void> {
  const { now } = api.time;
  await database.sql`
    insert into reviews (
      organization_id, id, policy_id, api_key_id, actor_id, provider, model, amount_nano_usd,
      requested_at, last_requested_at
    )
    select
      ${organizationId}, ${newId("review", now)}, id, ${adaKeyId}, ${adaId}, 'openai', 'gpt-4o', 1,
      ${now}, ${now}
    from policies
    where organization_id = ${organizationId}
    limit 1
  `;
}

async function ask(route: Route, token: string | undefined, ids = route.idExamples) {
  const path = route.path.replaceAll(/\{(\w+)\}/g, (_, name: string) => ids[name] ?? "");
  return await api.call(route.method, path, {
    ...(token === undefined ? {} : { token }),
    headers: { "if-match": '"1"' },
    body: route.bodyExample,
  });
}

function isLetThrough({ status, body }: Answer): boolean {
  const { detail = "" } = (body ?? {}) as { detail?: string };
  return status !== 401 && !(status === 403 && REFUSED.test(detail));
}

const hasId = ({ idExamples }: Route) => idExamples["id"] !== undefined;
const nameOf = ({ method, path }: Route) => `${method} ${path}`;

test("the page is what the code says", async () => {
  const page = readFileSync(PAGE, "utf8");
  const expected = withTables(page, await permissionTables());
  expect(page, "write it anew: sh appliance/with-bun.sh test/permissions-page.ts").toBe(expected);
});

describe("every route", () => {
  test("is one that signing out, signing in and first steps need, or asks who it is", () => {
    expect(routes.filter(({ isOpen }) => isOpen).map(nameOf)).toEqual([
      "POST /invitations/accept",
      "GET /onboarding",
      "POST /onboarding",
      "DELETE /session",
      "POST /session",
    ]);
    expect(routes.length).toBeGreaterThan(40);
  });

  test("lets each role through exactly as the page says", async () => {
    for (const route of routes.filter(({ isOpen }) => !isOpen)) {
      for (const role of [...ROLES, null]) {
        const answer = await ask(route, tokens.get(role));
        const seen = { route: nameOf(route), role, may: isLetThrough(answer) };
        expect(seen).toEqual({ ...seen, may: mayCall(route, role) });
        expect({ ...seen, isFailure: answer.status >= 500 }).toEqual({ ...seen, isFailure: false });
      }
    }
  });

  test("is closed to nobody, to a session that is over and to a made-up token", async () => {
    for (const route of routes.filter(({ isOpen }) => !isOpen)) {
      for (const token of [undefined, endedToken, "A".repeat(43)]) {
        const { status, body } = await ask(route, token);
        const { code } = body as { code: string };
        expect({ route: nameOf(route), status, code }).toEqual({
          route: nameOf(route),
          status: 401,
          code: "not_signed_in",
        });
      }
    }
  });
});

describe("another organization", () => {
  test("answers each id as one that does not exist, and is left as it was", async () => {
    const before = await rowsOf(globex.organizationId);
    const token = tokens.get("org_admin");
    const withId = routes.filter(hasId);
    expect(withId.length).toBeGreaterThan(10);
    for (const route of withId) {
      const unknown = await ask(route, token);
      const foreign = await ask(route, token, {
        ...route.idExamples,
        id: await idIn(globex.organizationId, route),
      });
      const seen = ({ status, body }: Answer) => {
        const { code, detail } = body as { code: string; detail: string };
        return { route: nameOf(route), status, code, detail };
      };
      expect(seen(foreign)).toEqual(seen(unknown));
      expect(seen(foreign)).toMatchObject({ route: nameOf(route), status: 404 });
    }
    expect(await rowsOf(globex.organizationId)).toEqual(before);
  });

  test("is in no list", async () => {
    const ids = await idsOf(globex.organizationId);
    expect(ids.length).toBeGreaterThan(20);
    for (const route of routes.filter((one) => one.method === "GET" && !hasId(one))) {
      const text = JSON.stringify((await ask(route, tokens.get("org_admin"))).body);
      const leaked = ids.filter((id) => text.includes(id));
      expect({ route: nameOf(route), leaked }).toEqual({ route: nameOf(route), leaked: [] });
    }
  });
});

/** The tables that belong to organizations, but for the partitions of others. */
async function tableNames(): Promise<readonly string[]> {
  const rows = await database.sql<{ name: string }[]>`
    select c.relname as name
    from pg_class c
    join pg_attribute a on a.attrelid = c.oid and a.attname = 'organization_id'
    where c.relnamespace = 'public'::regnamespace
      and c.relkind in ('r', 'p')
      and not c.relispartition
    order by 1
  `;
  return rows.map(({ name }) => name);
}

async function rowsOf(organizationId: string): Promise<readonly string[]> {
  const { sql } = database;
  const texts = (await tableNames()).map(async (name) => {
    const rows = await sql`
      select t::text as text from ${sql(name)} t
      where organization_id = ${organizationId}
      order by 1
    `;
    return `${name}: ${rows.map(({ text }) => text as string).join("\n")}`;
  });
  return await Promise.all(texts);
}

/** Every id that the organization's rows have, and its own. */
async function idsOf(organizationId: string): Promise<readonly string[]> {
  const text = (await rowsOf(organizationId)).join("\n");
  return [...new Set(text.match(/\b[a-z]{3}_[0-9A-HJKMNP-TV-Z]{26}\b/g) ?? [])];
}

/** An id that the other organization has of the route's kind. */
async function idIn(organizationId: string, { idExamples, path }: Route): Promise<string> {
  const kind = (idExamples["id"] ?? "").slice(0, 4);
  const id = (await idsOf(organizationId)).find((candidate) => candidate.startsWith(kind));
  if (id === undefined) {
    throw new Error(`give the other organization one of ${path}, in furnish()`);
  }
  return id;
}
