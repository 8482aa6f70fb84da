/**
 * A small company for tests of the management API: two employees, each with a key and one booked
 * call, and as many members as a test wants. Time stands still until a test moves it.
 */
import { changeByInstallation } from "../src/audit/audit-event.ts";
import { createBudget } from "../src/budgets/budget.ts";
import { createPolicy } from "../src/budgets/policy.ts";
import type { Sql, Transaction } from "../src/database/client.ts";
import { newId } from "../src/id.ts";
import type { Role } from "../src/identity/capability.ts";
import { createMembership, grantRole } from "../src/identity/membership.ts";
import { hashPassword } from "../src/identity/password.ts";
import { userInsert } from "../src/identity/queries.ts";
import { openSession } from "../src/identity/session.ts";
import { createApiKey } from "../src/keys/api-key.ts";
import { deriveKeyHmacKey } from "../src/keys/token.ts";
import { providerAccountId, spendAccountId } from "../src/ledger/account.ts";
import type { Log, LogFields } from "../src/log.ts";
import { createManagement } from "../src/management/management-api.ts";
import { createAgent } from "../src/organizations/agent.ts";
import { createEmployee } from "../src/organizations/employee.ts";
import { createOrganization } from "../src/organizations/organization.ts";
import { createProject } from "../src/organizations/project.ts";
import { createProviderAccount } from "../src/organizations/provider-account.ts";
import { createTeam } from "../src/organizations/team.ts";
import type { ReplayReport, Settlements } from "../src/reservations/settlements.ts";
import { Secret } from "../src/secret.ts";

export const encryptionKey = new Secret("a key of more than thirty-two bytes, for tests");
export const ORIGIN = "http://127.0.0.1:8080";

const nothingToReplay: ReplayReport = {
  nodeId: "nod_test",
  bookedCount: 0,
  alreadyBookedCount: 0,
  deadLetteredCount: 0,
  leftCount: 0,
};

export type Company = Awaited<ReturnType<typeof foundCompany>>;
export type Answer = { status: number; headers: Headers; body: unknown };

/** Creates an organization in which each of two employees has a key and one settled call. */
export async function foundCompany(sql: Sql, name: string, now: Date) {
  const change = changeByInstallation(now);
  return await sql.begin(async (transaction) => {
    const organizationId = await createOrganization(transaction, { name }, change);
    const teamId = await createTeam(transaction, { organizationId, name: "Platform" }, change);
    const inTeam = { organizationId, teamId };
    const projectId = await createProject(transaction, { ...inTeam, name: "Checkout" }, change);
    const ada = { ...inTeam, name: "Ada", email: "ada@example.com" };
    const bob = { ...inTeam, name: "Bob", email: null, teamId: null };
    const adaId = await createEmployee(transaction, ada, change);
    const bobId = await createEmployee(transaction, bob, change);
    const agentId = await createAgent(
      transaction,
      { organizationId, name: "Support agent", owner: { kind: "team", id: teamId } },
      change,
    );
    await createProviderAccount(
      transaction,
      {
        organizationId,
        provider: "openai",
        name: "OpenAI",
        baseUrl: "https://api.openai.com/v1",
        secretName: "OPENAI_API_KEY",
      },
      change,
    );
    const company = { organizationId, teamId, projectId, adaId, bobId, agentId };
    const budgetId = await addBudget(transaction, company, now);
    const adaKeyId = await addKey(transaction, organizationId, adaId, now);
    const bobKeyId = await addKey(transaction, organizationId, bobId, now);
    await bookCall(transaction, { organizationId, apiKeyId: adaKeyId, actorId: adaId, at: now });
    await bookCall(transaction, { organizationId, apiKeyId: bobKeyId, actorId: bobId, at: now });
    return { ...company, budgetId, adaKeyId, bobKeyId };
  });
}

async function addBudget(
  transaction: Transaction,
  { organizationId, teamId }: { organizationId: string; teamId: string },
  now: Date,
): Promise<string> {
  const selectsAll = { provider: null, model: null, tool: null, environment: null };
  const budgetId = await createBudget(
    transaction,
    {
      ...selectsAll,
      organizationId,
      name: "Platform team",
      scope: { kind: "team", id: teamId },
      amountNanoUsd: 500_000_000_000n,
      period: "lifetime",
      timeZone: "UTC",
      startsAt: null,
      endsAt: null,
    },
    changeByInstallation(now),
  );
  await createPolicy(
    transaction,
    { organizationId, name: "Cap", kind: "hard_cap", budgetId },
    changeByInstallation(now),
  );
  return budgetId;
}

async function addKey(
  transaction: Transaction,
  organizationId: string,
  employeeId: string,
  now: Date,
): Promise<string> {
  const { apiKeyId } = await createApiKey(
    transaction,
    {
      organizationId,
      name: "Key",
      actor: { kind: "employee", id: employeeId },
      projectId: null,
      environment: "production",
      allowedProviders: [],
      allowedModels: ["gpt-4o-mini"],
      allowedTools: [],
      reservationMaxNanoUsd: null,
      expiresAt: null,
      tokenKind: "live",
    },
    {
      change: changeByInstallation(now),
      hmacKey: deriveKeyHmacKey(encryptionKey),
      employeeIds: null,
    },
  );
  return apiKeyId;
}

/** What a settled call of 0.00123 USD leaves behind. */
export async function bookCall(
  sql: Sql | Transaction,
  call: { organizationId: string; apiKeyId: string; actorId: string; at: Date },
): Promise<string> {
  const { organizationId, apiKeyId, actorId, at } = call;
  const requestId = newId("request", at);
  const reservationId = newId("reservation", at);
  const spendEventId = newId("spendEvent", at);
  const entryId = newId("ledgerEntry", at);
  await sql`
    insert into reservations (
      organization_id, id, request_id, api_key_id, actor_id, provider, model, route,
      amount_nano_usd, window_ids, prompt_tokens_max, completion_tokens_max, price_version, status,
      node_id, reserved_at, deadline_at, settled_at, ended_at, cost_nano_usd
    )
    values (
      ${organizationId}, ${reservationId}, ${requestId}, ${apiKeyId}, ${actorId}, 'openai',
      'gpt-4o-mini', '/v1/chat/completions', 10500000, ${["win"]}, 10, 10, 'test', 'settled',
      'nod_1', ${at}, ${at}, ${at}, ${at}, 1230000
    )
  `;
  await sql`
    insert into spend_events (
      organization_id, id, occurred_at, reservation_id, request_id, api_key_id, provider, model,
      usage_source, price_version, cost_nano_usd, is_overage
    )
    values (
      ${organizationId}, ${spendEventId}, ${at}, ${reservationId}, ${requestId}, ${apiKeyId},
      'openai', 'gpt-4o-mini', 'provider', 'test', 1230000, false
    )
  `;
  await sql`
    insert into ledger_entries (
      organization_id, id, occurred_at, kind, debit_account_id, credit_account_id, amount_nano_usd,
      request_id, reservation_id, spend_event_id, api_key_id, actor_id
    )
    values (
      ${organizationId}, ${entryId}, ${at}, 'settlement', ${spendAccountId(organizationId)},
      ${providerAccountId(organizationId, "openai")}, 1230000, ${requestId}, ${reservationId},
      ${spendEventId}, ${apiKeyId}, ${actorId}
    )
  `;
  await sql`
    insert into gateway_requests (
      organization_id, id, received_at, route, api_key_id, actor_id, provider, model, is_streaming,
      policy_result, status, reservation_id, duration_ms
    )
    values (
      ${organizationId}, ${requestId}, ${at}, '/v1/chat/completions', ${apiKeyId}, ${actorId},
      'openai', 'gpt-4o-mini', true, 'granted', 200, ${reservationId}, 12
    )
  `;
  await sql`
    insert into usage_daily (
      organization_id, usage_on, team_id, project_id, api_key_id, provider, model, usage_source,
      calls, input_tokens, output_tokens, cost_nano_usd
    )
    values (
      ${organizationId}, (${at}::timestamptz at time zone 'UTC')::date, '', '', ${apiKeyId},
      'openai', 'gpt-4o-mini', 'provider', 1, 10, 10, 1230000
    )
    on conflict on constraint usage_daily_pkey do update
    set calls = usage_daily.calls + 1, cost_nano_usd = usage_daily.cost_nano_usd + 1230000
  `;
  return entryId;
}

/** A user with this role, signed in. Answers the session's token. Without a password by default. */
export async function addMember(
  sql: Sql,
  member: { organizationId: string; role: Role | null; employeeId?: string; now: Date },
): Promise<{ token: string; userId: string; membershipId: string }> {
  const { organizationId, role, now } = member;
  const change = changeByInstallation(now);
  const userId = newId("user", now);
  const email = `${userId}@example.com`.toLowerCase();
  await userInsert(sql, { id: userId, email, name: "M", passwordHash: "", createdAt: now });
  const employeeId = member.employeeId ?? null;
  const membershipId = await sql.begin(async (transaction) => {
    const id = await createMembership(transaction, { organizationId, userId, employeeId }, change);
    if (role !== null) {
      await grantRole(transaction, { organizationId, membershipId: id, role }, change);
    }
    return id;
  });
  const token = await openSession(sql, { userId, organizationId: null }, now);
  if (token === null) {
    throw new Error("the member could not sign in");
  }
  return { token, userId, membershipId };
}

/** A password that `addPassword` gives; hashing takes a tenth of a second. */
export const PASSWORD = "correct horse battery staple";

export async function addPassword(sql: Sql, userId: string, email: string): Promise<void> {
  const hash = await hashPassword(PASSWORD);
  await sql`update users set password_hash = ${hash}, email = ${email} where id = ${userId}`;
}

/** The API on a database, with a clock that the test moves and a log that it reads. */
export function openManagement(
  sql: Sql,
  settings: {
    publicUrl?: string;
    allowedOrigins?: readonly string[];
    settlements?: Pick<Settlements, "replay">;
    supabase?: { url: string; jwtSecret: Secret | null };
    managementRequestsPerMinute?: number;
  } = {},
) {
  const time = { now: new Date() };
  const lines: { event: string; fields: LogFields }[] = [];
  const write = (event: string, fields: LogFields = {}) => {
    lines.push({ event, fields });
  };
  const log: Log = { debug: write, info: write, warn: write, error: write };
  const management = createManagement({
    sql,
    clock: { now: () => time.now, monotonicMs: () => time.now.getTime() },
    log,
    // The replay of a real node is in settle-replay.test.ts.
    settlements: settings.settlements ?? { replay: async () => nothingToReplay },
    config: {
      publicUrl: settings.publicUrl ?? ORIGIN,
      allowedOrigins: settings.allowedOrigins ?? [],
      encryptionKey,
      supabase: settings.supabase ?? null,
      // Time stands still here, so that a limit of any size is used up by some test.
      managementRequestsPerMinute: settings.managementRequestsPerMinute ?? 1_000_000,
    },
  });
  return { management, time, lines, call: caller(management) };
}

type CallOptions = {
  token?: string;
  body?: unknown;
  /** Sent as it is, instead of `body` as JSON. */
  text?: string;
  headers?: Record<string, string>;
  address?: string;
};

function caller(management: ReturnType<typeof createManagement>) {
  return async (method: string, path: string, options: CallOptions = {}): Promise<Answer> => {
    const text = options.body === undefined ? options.text : JSON.stringify(options.body);
    const request = new Request(`${ORIGIN}/management${path}`, {
      method,
      headers: {
        ...(options.token === undefined ? {} : { cookie: `spendra_session=${options.token}` }),
        ...(text === undefined ? {} : { "content-type": "application/json" }),
        ...options.headers,
      },
      ...(text === undefined ? {} : { body: text }),
    });
    const response = await management.handle(request, options.address ?? "192.0.2.1");
    const answer = await response.text();
    const isJson = /^application\/(problem\+)?json/.test(
      response.headers.get("content-type") ?? "",
    );
    const body: unknown = answer === "" ? null : isJson ? JSON.parse(answer) : answer;
    return { status: response.status, headers: response.headers, body };
  };
}
