/** The audit log over HTTP: who did what to what from where, to those who may know. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { changeByInstallation, recordAuditEvent } from "../src/audit/audit-event.ts";
import { newId } from "../src/id.ts";
import { ROLES } from "../src/identity/capability.ts";
import { addMember, type Company, foundCompany, openManagement } from "./acme.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";

type Item = Record<string, unknown>;
type Page = { items: Item[]; nextCursor: string | null };

let database: TestDatabase;
let api: ReturnType<typeof openManagement>;
let acme: Company;
let globex: Company;
let root: Awaited<ReturnType<typeof addMember>>;

beforeAll(async () => {
  database = await testDatabase();
  api = openManagement(database.sql);
  acme = await foundCompany(database.sql, "Acme", api.time.now);
  globex = await foundCompany(database.sql, "Globex", api.time.now);
  const { organizationId } = acme;
  root = await addMember(database.sql, { organizationId, role: "org_admin", now: api.time.now });
});
afterAll(() => database.drop());

async function list(query = "", token = root.token): Promise<Page> {
  const { status, body } = await api.call("GET", `/audit${query}`, { token });
  expect({ status, body }).toMatchObject({ status: 200 });
  return body as Page;
}

async function makeTeam(name: string, headers: Record<string, string> = {}, address?: string) {
  const { status, body } = await api.call("POST", "/teams", {
    ...{ token: root.token, headers, body: { name } },
    ...(address === undefined ? {} : { address }),
  });
  expect(status).toBe(201);
  return (body as { id: string }).id;
}

describe("an event", () => {
  test("says who changed what, before and after, in which request and from where", async () => {
    const agent = { "user-agent": "Mozilla/5.0 (X11)" };
    const id = await makeTeam("North", agent, "198.51.100.7");
    const { headers } = await api.call("PATCH", `/teams/${id}`, {
      token: root.token,
      address: "2001:db8::1",
      headers: { ...agent, "if-match": '"1"' },
      body: { name: "South" },
    });
    const { items } = await list(`?subjectId=${id}`);
    expect(items).toHaveLength(2);
    const common = { userId: root.userId, subjectKind: "team", subjectId: id };
    expect(items.find(({ before }) => before !== null)).toMatchObject({
      ...common,
      organizationId: acme.organizationId,
      userEmail: `${root.userId}@example.com`.toLowerCase(),
      serviceTokenId: null,
      before: { name: "North" },
      after: { name: "South" },
      requestId: headers.get("x-request-id"),
      clientAddress: "2001:db8::1",
      userAgent: "Mozilla/5.0 (X11)",
    });
    const created = items.find(({ action }) => action === "team.create");
    expect(created).toMatchObject({ ...common, clientAddress: "198.51.100.7" });
    const read = await api.call("GET", `/audit/${String(created?.["id"])}`, { token: root.token });
    expect(read).toMatchObject({ status: 200, body: created });
  });

  test("of an accepted invitation says from where as well", async () => {
    const invited = await api.call("POST", "/invitations", {
      token: root.token,
      body: { email: "guest@acme.example", role: "auditor" },
    });
    const { token } = invited.body as { token: string };
    const accepted = await api.call("POST", "/invitations/accept", {
      address: "203.0.113.5",
      headers: { "user-agent": "Phone" },
      body: { token, name: "Guest", password: "correct horse battery" },
    });
    expect(accepted.status).toBe(201);
    const { items } = await list("?action=invitation.accept");
    expect(items).toMatchObject([{ clientAddress: "203.0.113.5", userAgent: "Phone" }]);
  });

  test("of the installation has neither a person nor a place", async () => {
    const { items } = await list("?action=organization.create");
    const nobody = { userId: null, userEmail: null, requestId: null };
    expect(items).toMatchObject([{ ...nobody, clientAddress: null, userAgent: null }]);
  });

  test("holds no secret that somebody wrote into a name, and what is none as it was", async () => {
    const token = `spk_live_${"A".repeat(26)}_${"b".repeat(40)}`;
    for (const [name, kept] of [
      [`old ${token}`, "old [secret]"],
      ["sk-proj-0123456789abcdefghij", "[secret]"],
      [`spt_${"A".repeat(26)}_${"c".repeat(40)}`, "[secret]"],
      ["see https://bob:hunter22@example.com", "see https://bob:[secret]@example.com"],
      ["Authorization: Bearer abcdefghijklmnopqrstuvwxyz", "Authorization: Bearer [secret]"],
      ["risk-assessment, basic mathematics", "risk-assessment, basic mathematics"],
    ] as const) {
      const id = await makeTeam(name, { "user-agent": `curl ${token}` });
      const { items } = await list(`?subjectId=${id}`);
      expect(items).toMatchObject([{ after: { name: kept }, userAgent: "curl [secret]" }]);
    }
  });

  test("keeps 300 characters of a user agent, whatever is in it", async () => {
    const id = await makeTeam("Long", { "user-agent": "é".repeat(10_000) });
    expect((await list(`?subjectId=${id}`)).items).toMatchObject([{ userAgent: "é".repeat(300) }]);
    await database.sql.begin(async (transaction) => {
      const change = { ...changeByInstallation(api.time.now), userAgent: "a\u0000b\nc" };
      const event = { organizationId: acme.organizationId, subjectId: "tea_nul" };
      await recordAuditEvent(transaction, { ...event, action: "team.create" }, change);
    });
    expect((await list("?subjectId=tea_nul")).items).toMatchObject([{ userAgent: "a b c" }]);
  });
});

describe("the list", () => {
  test("goes through everything once, newest first", async () => {
    const all: Item[] = [];
    let cursor: string | null = null;
    do {
      const page: Page = await list(`?limit=3${cursor === null ? "" : `&cursor=${cursor}`}`);
      expect(page.items.length).toBeLessThanOrEqual(3);
      all.push(...page.items);
      cursor = page.nextCursor;
    } while (cursor !== null);
    const whole = await list("?limit=200");
    expect(all).toEqual(whole.items);
    const times = all.map(({ occurredAt }) => String(occurredAt));
    expect(times).toEqual([...times].sort().reverse());
    const [row] = await database.sql<[{ count: bigint }]>`
      select count(*) from audit_log where organization_id = ${acme.organizationId}
    `;
    expect(BigInt(all.length)).toBe(row.count);
    expect(new Set(all.map(({ organizationId }) => organizationId)).size).toBe(1);
  });

  test("filters by who, what, on what and when", async () => {
    const hour = 3_600_000;
    api.time.now = new Date(api.time.now.getTime() + hour);
    const at = api.time.now.toISOString();
    const later = new Date(api.time.now.getTime() + 1).toISOString();
    const id = await makeTeam("Filtered");
    const ids = async (query: string) =>
      (await list(query)).items.map(({ subjectId }) => subjectId);
    expect(await ids(`?from=${at}`)).toEqual([id]);
    expect(await ids(`?from=${at}&to=${later}`)).toEqual([id]);
    expect(await ids(`?to=${at}`)).not.toContain(id);
    expect(await ids(`?actorId=${root.userId}&action=team.create&from=${at}`)).toEqual([id]);
    expect(await ids(`?action=team&from=${at}`)).toEqual([id]);
    expect(await ids(`?action=team.rename&from=${at}`)).toEqual([]);
    expect(await ids(`?actorId=${newId("user", api.time.now)}`)).toEqual([]);
    expect(await ids("?subjectId=tea_unknown")).toEqual([]);
  });

  test("finds what automation did by its token", async () => {
    const made = await api.call("POST", "/service-tokens", {
      token: root.token,
      body: { name: "Terraform", role: "org_admin" },
    });
    const { id, token } = made.body as { id: string; token: string };
    const headers = { authorization: `Bearer ${token}` };
    const team = await api.call("POST", "/teams", { headers, body: { name: "By automation" } });
    expect(team.status).toBe(201);
    const { items } = await list(`?actorId=${id}`);
    expect(items).toMatchObject([{ serviceTokenId: id, userId: root.userId }]);
  });

  test.each([
    ["actorId", "key_01KAJ3M2YV8Q4T6W9ZB5C7D1E2"],
    ["actorId", "x".repeat(10_000)],
    ["action", "team.create'; drop table audit_log"],
    ["action", "x".repeat(10_000)],
    ["subjectId", "x".repeat(10_000)],
    ["subjectId", "%00"],
    ["subjectId", ""],
    ["from", "yesterday"],
    ["to", "2026-11-21"],
    ["limit", "201"],
    ["cursor", "bm9uZQ"],
    ["unknown", "1"],
  ])("refuses a bad %s and names it", async (field, value) => {
    for (const path of ["/audit", "/audit/export"]) {
      const query = `${path}?${field}=${value}`;
      const answer = await api.call("GET", query, { token: root.token });
      expect(answer).toMatchObject({ status: 400, body: { errors: [{ field }] } });
    }
  });

  test("refuses an end before its beginning", async () => {
    for (const path of ["/audit", "/audit/export"]) {
      const query = `${path}?from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z`;
      const answer = await api.call("GET", query, { token: root.token });
      expect(answer).toMatchObject({ status: 400, body: { errors: [{ field: "to" }] } });
    }
  });
});

describe("who may read", () => {
  test("are org_admin and auditor; nobody can write", async () => {
    const { organizationId } = acme;
    const may: string[] = [];
    for (const role of ROLES) {
      const { token } = await addMember(database.sql, { organizationId, role, now: api.time.now });
      const { status } = await api.call("GET", "/audit", { token });
      const { status: one } = await api.call("GET", "/audit/aud_1", { token });
      expect([200, 403]).toContain(status);
      expect(one === 403).toBe(status === 403);
      if (status === 200) {
        may.push(role);
      }
    }
    expect(may).toEqual(["org_admin", "auditor"]);
    for (const method of ["POST", "PATCH", "DELETE"]) {
      expect((await api.call(method, "/audit", { token: root.token })).status).toBe(405);
    }
  });

  test("see nothing of another organization, not even that it is there", async () => {
    const now = api.time.now;
    const { token } = await addMember(database.sql, {
      organizationId: globex.organizationId,
      role: "org_admin",
      now,
    });
    const [own] = (await list("?limit=1")).items;
    const foreign = await api.call("GET", `/audit/${String(own?.["id"])}`, { token });
    const unknown = await api.call("GET", `/audit/${newId("auditEvent", now)}`, { token });
    const seen = ({ status, body }: typeof foreign) => ({
      status,
      body: { ...(body as object), request_id: "" },
    });
    expect(foreign.status).toBe(404);
    expect(seen(foreign)).toEqual(seen(unknown));
    for (const query of [`?subjectId=${acme.teamId}`, `?actorId=${root.userId}`]) {
      expect((await list(query, token)).items).toEqual([]);
    }
    const { items } = await list("?limit=200", token);
    expect(new Set(items.map(({ organizationId }) => organizationId))).toEqual(
      new Set([globex.organizationId]),
    );
  });
});
