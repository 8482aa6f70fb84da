/** Versions in the database: on rows of before, and grown by whatever changes a row. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { migrationFiles } from "../src/database/migration-files.ts";
import { violatedConstraint } from "../src/database/sqlstate.ts";
import { emptyDatabase, type TestDatabase } from "./postgres.ts";

const FIRST_OF_VERSIONS = "0024_versions.sql";
const PLACES = ["branches", "teams", "projects", "employees", "agents"] as const;

let database: TestDatabase;

beforeAll(async () => {
  database = await emptyDatabase();
  const { sql } = database;
  const isEarlier = ({ name }: { name: string }) => name < FIRST_OF_VERSIONS;
  for (const file of migrationFiles.filter(isEarlier)) {
    await sql.unsafe(file.sql);
  }
  await sql`insert into organizations (id, name, created_at) values ('org_1', 'Old', now())`;
  await sql`insert into branches values ('org_1', 'brn_1', 'B', now())`;
  await sql`insert into teams values ('org_1', 'tea_1', 'brn_1', 'T', now())`;
  // Both parents: nothing ever wrote this, but nothing forbade it either.
  await sql`insert into projects values ('org_1', 'prj_1', 'brn_1', 'tea_1', 'P', now())`;
  await sql`insert into employees values ('org_1', 'emp_1', 'tea_1', 'E', null, now())`;
  await sql`
    insert into agents (organization_id, id, owner_team_id, name, created_at)
    values ('org_1', 'agt_1', 'tea_1', 'A', now())
  `;
  await sql`
    insert into budgets (
      organization_id, id, name, scope_kind, scope_id, amount_nano_usd, period, created_at
    )
    values ('org_1', 'bud_1', 'B', 'team', 'tea_1', 1, 'day', now())
  `;
  for (const file of migrationFiles.filter((one) => !isEarlier(one))) {
    await sql.unsafe(file.sql);
  }
}, 30_000);

afterAll(async () => {
  await database.drop();
});

async function versionOf(table: string): Promise<number> {
  const [row] = await database.sql<
    [{ version: number }]
  >`select version from ${database.sql(table)}`;
  return row.version;
}

test("rows of before begin at one, and stay what they were", async () => {
  for (const table of ["organizations", "budgets", ...PLACES]) {
    expect(await versionOf(table)).toBe(1);
  }
  expect([...(await database.sql`select branch_id, team_id from projects`)]).toEqual([
    { branch_id: "brn_1", team_id: "tea_1" },
  ]);
});

test("each change grows it by one, also one that is made by hand", async () => {
  const { sql } = database;
  for (const table of ["budgets", ...PLACES.filter((place) => place !== "projects")]) {
    await sql`update ${sql(table)} set name = 'Changed', version = 77`;
    expect(await versionOf(table)).toBe(2);
  }
});

test("an organization's own does not grow with what changes in it", async () => {
  const { sql } = database;
  await sql`update teams set name = 'Again'`;
  expect(await versionOf("organizations")).toBe(1);
  await sql`update organizations set name = 'New'`;
  expect(await versionOf("organizations")).toBe(2);
});

test("a project cannot get a parent of each kind any more", async () => {
  const { sql } = database;
  const written = sql`
    insert into projects values ('org_1', 'prj_2', 'brn_1', 'tea_1', 'P', now())
  `.catch((error: unknown) => violatedConstraint(error));
  expect(await written).toBe("projects_one_parent");
});
