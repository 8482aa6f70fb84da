/**
 * (e) What a node books a second from a spool that an earlier process left: settlements of calls
 * that are held in the database, each with its request record. Timed from opening the spool to the
 * last record booked.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DemoCompany } from "../../src/cli/demo-company.ts";
import { toClosingJson, toRequestRow } from "../../src/reservations/batch-json.ts";
import type { NewReservation } from "../../src/reservations/reservation.ts";
import type { SpoolRecord } from "../../src/reservations/spool.ts";
import { HELD_NANO_USD, makeReservations, settled } from "../sample-reservations.ts";
import { openTestWriter } from "../test-writer.ts";
import { processorSeconds } from "./measure.ts";
import type { BenchDatabase } from "./server.ts";

export type ReplayRow = {
  records: number;
  seconds: number;
  perSecond: number;
  /** What an hour's outage at 1,000 calls a minute leaves behind. */
  secondsFor60000: number;
  clientCpuMicroseconds: number;
  postgresCpuMicroseconds: number;
};

type Place = { database: BenchDatabase; postmaster: number };

/** Reservations that are asked for at once. */
const WAITING = 512;
const HELD_MS = 60 * 60_000;
const RECORDS_OF_TARGET = 60_000;
/** So that as many fit: a node takes no new calls beyond 64 MiB. */
const SPOOL_BYTES_MAX = 1024 * 1024 * 1024;

export async function measureReplay(
  place: Place,
  company: DemoCompany,
  records: number,
): Promise<ReplayRow> {
  const directory = await mkdtemp(join(tmpdir(), "spendra-bench-spool-"));
  try {
    await leaveSpool(place.database, company, directory, records);
    await place.database.sql`checkpoint`;
    const row = await replay(place, directory, records);
    await requireBooked(place.database, records);
    return row;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** What a process leaves that is killed while the database is away. */
async function leaveSpool(
  { url, sql }: BenchDatabase,
  company: DemoCompany,
  directory: string,
  records: number,
): Promise<void> {
  const make = await makeReservations(sql, company);
  const earlier = await openTestWriter(url, { directory, bytesMax: SPOOL_BYTES_MAX });
  try {
    for (let left = records; left > 0; left -= WAITING) {
      const deadlineAt = new Date(Date.now() + HELD_MS);
      const held = Array.from({ length: Math.min(left, WAITING) }, () => make({ deadlineAt }));
      const outcomes = await Promise.all(held.map((one) => earlier.writer.reserve(one)));
      if (outcomes.some(({ status }) => status !== "granted")) {
        throw new Error("a reservation of the bench was not granted");
      }
      await Promise.all(held.map((one) => earlier.spool.keep(toRecord(one))));
    }
  } finally {
    await earlier.close();
  }
}

function toRecord(held: NewReservation): SpoolRecord {
  return {
    version: 1,
    closing: toClosingJson(settled(held, HELD_NANO_USD)),
    request: toRequestRow({
      organizationId: held.organizationId,
      requestId: held.requestId,
      receivedAt: new Date(),
      route: held.route,
      apiKeyId: held.apiKeyId,
      actorId: held.actorId,
      provider: held.provider,
      model: held.model,
      isStreaming: false,
      policyResult: "granted",
      status: 200,
      errorCode: null,
      reservationId: held.id,
      durationMs: 100,
    }),
  };
}

async function replay(place: Place, directory: string, records: number): Promise<ReplayRow> {
  const postgresBefore = await processorSeconds([place.postmaster]);
  const clientBefore = process.cpuUsage();
  const startedMs = performance.now();
  const node = await openTestWriter(place.database.url, { directory });
  try {
    if (node.left.length !== records) {
      throw new Error(`the spool held ${node.left.length} records instead of ${records}`);
    }
    await node.writer.replay(node.left);
    const seconds = (performance.now() - startedMs) / 1000;
    const client = process.cpuUsage(clientBefore);
    const postgres = (await processorSeconds([place.postmaster])) - postgresBefore;
    return {
      records,
      seconds,
      perSecond: records / seconds,
      secondsFor60000: (seconds * RECORDS_OF_TARGET) / records,
      clientCpuMicroseconds: (client.user + client.system) / records,
      postgresCpuMicroseconds: (postgres * 1_000_000) / records,
    };
  } finally {
    await node.close();
  }
}

/** A number for records that were put aside instead of booked would be worth nothing. */
async function requireBooked({ sql }: BenchDatabase, records: number): Promise<void> {
  const [row] = await sql<[{ settled: number; booked: number; recorded: number }]>`
    select
      count(*)::int as settled, count(e.id)::int as booked, count(g.id)::int as recorded
    from reservations r
    left join ledger_entries e
      on e.organization_id = r.organization_id and e.reservation_id = r.id
    left join gateway_requests g on g.organization_id = r.organization_id and g.id = r.request_id
    where r.status = 'settled' and r.node_id = 'nod_test'
  `;
  if (row.settled !== records || row.booked !== records || row.recorded !== records) {
    throw new Error(`not every record was booked: ${JSON.stringify(row)} of ${records}`);
  }
}
