/** Reservations summed up by status, now and at past instants, against the rows themselves. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { newId } from "../src/id.ts";
import { formatUsd } from "../src/money.ts";
import { RESERVATION_STATUSES } from "../src/reservations/listing.ts";
import { addMember, type Company, foundCompany, openManagement } from "./acme.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";

const ROWS = 400;
const HOUR_MS = 60 * 60_000;
const DAY_MS = 24 * HOUR_MS;

type Row = {
  actor_id: string;
  status: string;
  amount_nano_usd: bigint;
  cost_nano_usd: bigint | null;
  reserved_at: Date;
  ended_at: Date | null;
  corrected_at: Date | null;
};
type Status = {
  status: string;
  count: number;
  amountUsd: string;
  costUsd: string;
  oldestReservedAt: string | null;
  oldestAgeSeconds: number | null;
};
type Report = { at: string; since: string | null; statuses: Status[] };

let database: TestDatabase;
let acme: Company;
let api: ReturnType<typeof openManagement>;
let token: string;
let employeeToken: string;
let rows: readonly Row[];
let now: Date;

beforeAll(async () => {
  database = await testDatabase();
  api = openManagement(database.sql);
  ({ now } = api.time);
  acme = await foundCompany(database.sql, "Acme", now);
  const globex = await foundCompany(database.sql, "Globex", now);
  const { organizationId, adaId } = acme;
  ({ token } = await addMember(database.sql, { organizationId, role: "auditor", now }));
  const employee = { organizationId, role: "employee" as const, employeeId: adaId, now };
  ({ token: employeeToken } = await addMember(database.sql, employee));
  await addReservations(acme);
  await addReservations(globex);
  rows = await database.sql<Row[]>`
    select
      actor_id, status, amount_nano_usd, cost_nano_usd, reserved_at, ended_at, corrected_at
    from reservations where organization_id = ${organizationId}
  `;
});

afterAll(async () => {
  await database.drop();
});

/** Of every status, over three days; of the expired each second was corrected an hour later. */
async function addReservations(company: Company): Promise<void> {
  const times = Array.from({ length: ROWS }, (_, index) => ago(((index + 1) * 3 * DAY_MS) / ROWS));
  const ids = times.map((at) => newId("reservation", at));
  await database.sql`
    insert into reservations (
      organization_id, id, request_id, api_key_id, actor_id, provider, model, route,
      amount_nano_usd, window_ids, prompt_tokens_max, completion_tokens_max, price_version, node_id,
      reserved_at, deadline_at, status, settled_at, ended_at, cost_nano_usd, corrected_at
    )
    select
      ${company.organizationId}, r.id, 'req_' || r.i, ${company.adaKeyId},
      case when r.i % 3 = 0 then ${company.adaId} else ${company.bobId} end,
      'openai', 'gpt-4o-mini', '/v1/chat/completions', 1000 + r.i, '{win}', 1, 1, 'test', 'nod_1',
      r.at, r.at, s.status,
      case when s.status = 'settled' then r.at + '1 second' end,
      case when s.status <> 'held' then r.at + '1 second' end,
      case s.status when 'settled' then 7 * r.i when 'expired' then
        case when r.i % 8 = 3 then 5 else 1000 + r.i end
      end,
      case when s.status = 'expired' and r.i % 8 = 3 then r.at + '1 hour' end
    from unnest(${ids}::text[], ${times.map((at) => at.toISOString())}::text[])
      with ordinality as made(id, made_at, i)
    cross join lateral (select made.id, made_at::timestamptz as at, i::integer as i) r
    cross join lateral (
      select (array['held', 'settled', 'released', 'expired'])[r.i % 4 + 1] as status
    ) s
  `;
}

/** The same by hand, row by row. */
function truth(at: Date, since: Date | null, actorId: string | null): Status[] {
  const counted = rows.filter(
    (row) =>
      row.reserved_at <= at &&
      (since === null || row.reserved_at >= since) &&
      (actorId === null || row.actor_id === actorId),
  );
  return RESERVATION_STATUSES.map((status) => {
    const such = counted.filter((row) => {
      const hasEnded = row.ended_at !== null && row.ended_at <= at;
      return (hasEnded ? row.status : "held") === status;
    });
    let amountNanoUsd = 0n;
    let costNanoUsd = 0n;
    for (const row of such) {
      const isCorrectedLater = row.corrected_at !== null && row.corrected_at > at;
      const bookedNanoUsd = isCorrectedLater ? row.amount_nano_usd : (row.cost_nano_usd ?? 0n);
      amountNanoUsd += row.amount_nano_usd;
      costNanoUsd += status === "held" ? 0n : bookedNanoUsd;
    }
    const times = such.map((row) => row.reserved_at.getTime());
    const oldestMs = times.length === 0 ? null : Math.min(...times);
    return {
      status,
      count: such.length,
      amountUsd: formatUsd(amountNanoUsd),
      costUsd: formatUsd(costNanoUsd),
      oldestReservedAt: oldestMs === null ? null : new Date(oldestMs).toISOString(),
      oldestAgeSeconds: oldestMs === null ? null : Math.floor((at.getTime() - oldestMs) / 1_000),
    };
  });
}

async function ask(path: string, asker = token): Promise<Report> {
  const { status, body } = await api.call("GET", `/reservations/${path}`, { token: asker });
  expect(status).toBe(200);
  return body as Report;
}

const ago = (durationMs: number): Date => new Date(now.getTime() - durationMs);
const countOf = ({ statuses }: Report) => statuses.reduce((sum, { count }) => sum + count, 0);

describe("the report", () => {
  test("is what the rows say, of everyone or of own work", async () => {
    const all = await ask("report");
    expect(all).toMatchObject({ at: now.toISOString(), since: null });
    expect(all.statuses).toEqual(truth(now, null, null));
    expect(countOf(all)).toBe(ROWS + 2);
    expect(all.statuses.every(({ count }) => count > 0)).toBe(true);
    const own = await ask("report", employeeToken);
    expect(own.statuses).toEqual(truth(now, null, acme.adaId));
    expect(countOf(own)).toBeLessThan(ROWS / 2);
  });

  test("leaves out what was made before `since`", async () => {
    const since = ago(36 * HOUR_MS);
    const { statuses } = await ask(`report?since=${since.toISOString()}`);
    expect(statuses).toEqual(truth(now, since, null));
    const none = await ask(`report?since=${new Date(now.getTime() + 1).toISOString()}`);
    expect(none.statuses).toEqual(truth(now, new Date(now.getTime() + 1), null));
    expect(none.statuses[0]).toEqual({
      status: "held",
      count: 0,
      amountUsd: "0",
      costUsd: "0",
      oldestReservedAt: null,
      oldestAgeSeconds: null,
    });
  });
});

describe("the baseline", () => {
  test.each([0, 500, 59 * 60_000, HOUR_MS, DAY_MS, 2.5 * DAY_MS, 30 * DAY_MS])(
    "of %d ms ago is what the rows said then",
    async (durationMs) => {
      const at = ago(durationMs);
      const baseline = await ask(`baseline?at=${at.toISOString()}`);
      expect(baseline.at).toBe(at.toISOString());
      expect(baseline.statuses).toEqual(truth(at, null, null));
    },
  );

  test("is of 24 hours ago by default, and of this moment the report", async () => {
    expect(await ask("baseline")).toMatchObject({ at: ago(DAY_MS).toISOString() });
    expect(await ask(`baseline?at=${now.toISOString()}`)).toEqual(await ask("report"));
  });

  test("stays the same while reservations end", async () => {
    const at = ago(HOUR_MS);
    const before = await ask(`baseline?at=${at.toISOString()}`);
    const ended = await database.sql`
      update reservations set status = 'released', ended_at = ${now}
      where status = 'held' and organization_id = ${acme.organizationId} returning id
    `;
    expect(ended.length).toBeGreaterThan(50);
    expect(await ask(`baseline?at=${at.toISOString()}`)).toEqual(before);
    expect((await ask("report")).statuses[0]).toMatchObject({ status: "held", count: 0 });
  });

  test("is refused for the future and for what is no time", async () => {
    const future = new Date(now.getTime() + 1).toISOString();
    for (const query of [`baseline?at=${future}`, "baseline?at=yesterday", "report?at=1"]) {
      const { status, body } = await api.call("GET", `/reservations/${query}`, { token });
      expect({ status, body }).toMatchObject({ status: 400, body: { errors: [{ field: "at" }] } });
    }
  });
});
