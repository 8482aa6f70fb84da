/** An organization with 100,000 keys that were all used: its lists and single reads stay quick. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { addMember, type Company, foundCompany, openManagement } from "./acme.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";

const KEYS = 100_000;
const READS = 60;
const ANSWER_P95_MAX_MS = 100;

let database: TestDatabase;
let acme: Company;
let api: ReturnType<typeof openManagement>;
let admin: string;
let ada: string;

beforeAll(async () => {
  database = await testDatabase();
  const { sql } = database;
  api = openManagement(sql);
  const { now } = api.time;
  acme = await foundCompany(sql, "Acme", now);
  const { organizationId, adaId, bobId } = acme;
  admin = (await addMember(sql, { organizationId, role: "org_admin", now })).token;
  const employee = { organizationId, role: "employee", employeeId: adaId, now } as const;
  ada = (await addMember(sql, employee)).token;
  await sql`
    insert into api_keys (
      organization_id, id, name, employee_id, environment, secret_hmac, allowed_models, created_at
    )
    select
      ${organizationId}, 'key_01KAJ3M2YV8Q4T6W9Z' || lpad(n::text, 8, '0'), 'Key ' || n,
      case when n % 1000 = 0 then ${adaId} else ${bobId} end, 'production',
      decode(repeat('00', 32), 'hex'), '{gpt-4o}', ${now}
    from generate_series(1, ${KEYS}::integer) as n
  `;
  await sql`
    insert into usage_daily (
      organization_id, usage_on, team_id, project_id, api_key_id, provider, model, usage_source,
      calls, input_tokens, output_tokens, cost_nano_usd
    )
    select
      organization_id, current_date - d, '', '', id, 'openai', 'gpt-4o', 'provider', 1, 10, 10, 7
    from api_keys
    cross join generate_series(1, 3) as d
    where id like 'key\_01KAJ3M2YV8Q4T6W9Z%'
  `;
  await sql`analyze api_keys, usage_daily`;
}, 60_000);

afterAll(async () => {
  await database.drop();
});

type Page = { items: { id: string; spentUsd: string }[]; nextCursor: string | null };

test.each([
  ["an administrator", () => admin, 200],
  ["an employee with a hundred of them", () => ada, 50],
] as const)("pages of %s answer within 100 ms at p95", async (_, token, limit) => {
  const tookMs: number[] = [];
  let cursor = "";
  for (let read = 0; read < READS; read++) {
    const startedMs = performance.now();
    const { body } = await api.call("GET", `/api-keys?limit=${limit}${cursor}`, { token: token() });
    tookMs.push(performance.now() - startedMs);
    const page = body as Page;
    expect(page.items.length).toBeGreaterThan(0);
    cursor = page.nextCursor === null ? "" : `&cursor=${page.nextCursor}`;
  }
  expect(p95Of(tookMs)).toBeLessThan(ANSWER_P95_MAX_MS);
});

test("a single key answers within 100 ms at p95, with what it has spent", async () => {
  const tookMs: number[] = [];
  for (let read = 1; read <= READS; read++) {
    const id = `key_01KAJ3M2YV8Q4T6W9Z${String(read * 1000).padStart(8, "0")}`;
    const startedMs = performance.now();
    const { body } = await api.call("GET", `/api-keys/${id}`, { token: admin });
    tookMs.push(performance.now() - startedMs);
    expect(body).toMatchObject({ id, spentUsd: "0.000000021" });
  }
  expect(p95Of(tookMs)).toBeLessThan(ANSWER_P95_MAX_MS);
});

function p95Of(valuesMs: number[]): number {
  const sorted = [...valuesMs].sort((left, right) => left - right);
  const p95Ms = sorted[Math.ceil(sorted.length * 0.95) - 1] ?? Number.POSITIVE_INFINITY;
  console.info(`p95 of ${sorted.length} answers: ${p95Ms.toFixed(1)} ms`);
  return p95Ms;
}
