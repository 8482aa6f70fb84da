/**
 * Scopes of a request: F37 to F41, as far as they are decided without a database. With one, over
 * random hierarchies, in hierarchy-scopes.test.ts.
 */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { type Lineage, resolveScopes, SCOPE_KINDS } from "../src/organizations/scopes.ts";

const nobody: Lineage = {
  organizationId: "org_1",
  apiKeyId: "key_1",
  agentIds: [],
  employee: null,
  ownerTeam: null,
  projects: [],
};
const ada = { id: "emp_ada", teamId: "tea_platform", branchId: "brn_berlin" };
const freelancer = { id: "emp_free", teamId: null, branchId: null };
const checkout = { id: "prj_checkout", teamId: "tea_shop", branchId: "brn_paris" };
const skunkworks = { id: "prj_skunkworks", teamId: null, branchId: null };
const branchProject = { id: "prj_branch", teamId: null, branchId: "brn_berlin" };

function scopesOf(lineage: Partial<Lineage>): string[] {
  return resolveScopes({ ...nobody, ...lineage }).map(({ kind, id }) => `${kind}:${id}`);
}

describe("the scopes of a request", () => {
  test("know the seven places of the hierarchy, and the key", () => {
    expect(SCOPE_KINDS).toEqual([
      "organization",
      "branch",
      "team",
      "project",
      "employee",
      "agent",
      "subagent",
      "api_key",
    ]);
  });

  test.each<[string, Partial<Lineage>, string[]]>([
    ["nobody, an actor that is gone", {}, []],
    [
      "an employee in a team of a branch",
      { employee: ada },
      ["branch:brn_berlin", "team:tea_platform", "employee:emp_ada"],
    ],
    ["an employee without a team", { employee: freelancer }, ["employee:emp_free"]],
    [
      "an employee whose team has no branch",
      { employee: { ...ada, branchId: null } },
      ["team:tea_platform", "employee:emp_ada"],
    ],
    [
      "an employee with a key for a project of another team and branch",
      { employee: ada, projects: [checkout] },
      [
        "branch:brn_berlin",
        "branch:brn_paris",
        "team:tea_platform",
        "team:tea_shop",
        "project:prj_checkout",
        "employee:emp_ada",
      ],
    ],
    [
      "a project outside branch and team",
      { employee: freelancer, projects: [skunkworks] },
      ["project:prj_skunkworks", "employee:emp_free"],
    ],
    [
      "a project of the same branch, which counts once",
      { employee: ada, projects: [branchProject] },
      ["branch:brn_berlin", "team:tea_platform", "project:prj_branch", "employee:emp_ada"],
    ],
    [
      "an agent of an employee",
      { employee: ada, agentIds: ["agt_root"] },
      ["branch:brn_berlin", "team:tea_platform", "employee:emp_ada", "agent:agt_root"],
    ],
    [
      "an agent of a team",
      { ownerTeam: { id: "tea_shop", branchId: "brn_paris" }, agentIds: ["agt_root"] },
      ["branch:brn_paris", "team:tea_shop", "agent:agt_root"],
    ],
    [
      "an agent of a team without a branch",
      { ownerTeam: { id: "tea_shop", branchId: null }, agentIds: ["agt_root"] },
      ["team:tea_shop", "agent:agt_root"],
    ],
    [
      "an agent of a project, with a key for another project",
      { projects: [skunkworks, checkout], agentIds: ["agt_root"] },
      [
        "branch:brn_paris",
        "team:tea_shop",
        "project:prj_skunkworks",
        "project:prj_checkout",
        "agent:agt_root",
      ],
    ],
    [
      "an agent of a project, with a key for the same project",
      { projects: [skunkworks, skunkworks], agentIds: ["agt_root"] },
      ["project:prj_skunkworks", "agent:agt_root"],
    ],
    [
      "a subagent of a subagent: every one above it counts",
      { employee: freelancer, agentIds: ["agt_third", "agt_second", "agt_root"] },
      ["employee:emp_free", "agent:agt_root", "subagent:agt_third", "subagent:agt_second"],
    ],
  ])("of %s", (_, lineage, between) => {
    expect(scopesOf(lineage)).toEqual(["organization:org_1", ...between, "api_key:key_1"]);
  });

  test("follow an actor that moves: nothing of the old place is left", () => {
    const before = scopesOf({ employee: ada });
    const after = scopesOf({ employee: { ...ada, teamId: "tea_shop", branchId: "brn_paris" } });
    expect(after).not.toContain("team:tea_platform");
    expect(after).not.toContain("branch:brn_berlin");
    expect(after).toHaveLength(before.length);
  });

  test("name each scope once, from the organization down to the key", () => {
    const scopes = resolveScopes({
      ...nobody,
      employee: ada,
      ownerTeam: { id: ada.teamId, branchId: ada.branchId },
      projects: [branchProject, branchProject],
      agentIds: ["agt_second", "agt_root"],
    });
    expect(new Set(scopes.map(({ kind, id }) => `${kind}:${id}`)).size).toBe(scopes.length);
    const order = scopes.map(({ kind }) => SCOPE_KINDS.indexOf(kind));
    expect(order).toEqual(order.toSorted((left, right) => left - right));
  });

  test("are whatever any part of the lineage names, and nothing else", () => {
    const idOf = (prefix: string) => fc.constantFrom("1", "2", "3").map((end) => prefix + end);
    const orNone = (prefix: string) => fc.option(idOf(prefix));
    const placed = (prefix: string) =>
      fc.record({ id: idOf(prefix), teamId: orNone("tea_"), branchId: orNone("brn_") });
    const lineages = fc.record({
      organizationId: fc.constant("org_1"),
      apiKeyId: fc.constant("key_1"),
      agentIds: fc.uniqueArray(idOf("agt_")),
      employee: fc.option(placed("emp_")),
      ownerTeam: fc.option(fc.record({ id: idOf("tea_"), branchId: orNone("brn_") })),
      projects: fc.array(placed("prj_"), { maxLength: 2 }),
    });
    fc.assert(
      fc.property(lineages, (lineage) => {
        const named = JSON.stringify(lineage).match(/[a-z]{3}_\d/g);
        const ids = resolveScopes(lineage).map(({ id }) => id);
        expect(ids.toSorted()).toEqual([...new Set(named)].sort());
      }),
      { numRuns: 500 },
    );
  });
});
