/** Reservations summed up by status: as they are, and as they were at a past instant. */
import { z } from "zod";
import { formatUsd } from "../money.ts";
import { RESERVATION_STATUSES } from "../reservations/listing.ts";
import { type ReservationStatusRow, reservationReport } from "../reservations/report.ts";
import type { Dependencies } from "./dependencies.ts";
import { type Endpoint, noBody, noParams } from "./endpoint.ts";
import { instant, timeField, timeOrNull, usd } from "./fields.ts";
import { memberEndpoint } from "./member-endpoint.ts";
import { InvalidFieldsError } from "./problem.ts";

const DAY_MS = 24 * 60 * 60_000;

const sinceField = timeField
  .optional()
  .meta({ description: "Leaves out reservations that were made before. All count without it." });

const reportAnswer = z.strictObject({
  at: instant.meta({ description: "The instant that the numbers are of." }),
  since: instant.nullable(),
  statuses: z
    .array(
      z.strictObject({
        status: z.enum(RESERVATION_STATUSES),
        count: z.int(),
        amountUsd: usd.meta({ description: "Sum of the most that the calls could cost." }),
        costUsd: usd.meta({ description: "Sum of what was booked." }),
        oldestReservedAt: instant.nullable(),
        oldestAgeSeconds: z
          .int()
          .nullable()
          .meta({ description: "From `oldestReservedAt` to `at`; null when there is none." }),
      }),
    )
    .meta({ description: "Every status, in the order of a reservation's life." }),
});

type Report = z.output<typeof reportAnswer>;

const noneOf = (status: Report["statuses"][number]["status"]): Report["statuses"][number] => ({
  status,
  count: 0,
  amountUsd: "0",
  costUsd: "0",
  oldestReservedAt: null,
  oldestAgeSeconds: null,
});

const example: Report = {
  at: "2026-11-21T09:30:00.000Z",
  since: null,
  statuses: [
    {
      status: "held",
      count: 2,
      amountUsd: "0.021",
      costUsd: "0",
      oldestReservedAt: "2026-11-21T09:29:30.000Z",
      oldestAgeSeconds: 30,
    },
    noneOf("settled"),
    noneOf("released"),
    noneOf("expired"),
  ],
};

export function reportEndpoint(dependencies: Dependencies): Endpoint {
  return memberEndpoint(dependencies, {
    method: "GET",
    path: "/report",
    summary: "Sum up reservations by status",
    description: "Counts, amounts and the oldest, now. An employee sees only their own work.",
    params: noParams,
    query: z.strictObject({ since: sinceField }),
    body: noBody,
    capabilities: ["reservation.read"],
    answer: reportAnswer,
    answerExample: example,
    run: async ({ query, member, now }) =>
      await summarise(dependencies, member, { since: query.since ?? null, at: now }),
  });
}

export function baselineEndpoint(dependencies: Dependencies): Endpoint {
  return memberEndpoint(dependencies, {
    method: "GET",
    path: "/baseline",
    summary: "Sum up reservations as they stood at an instant",
    description:
      "The report of a past instant, to compare the present one with. It needs no preparation: " +
      "any instant can be asked for at any time, and the answer stays the same.",
    params: noParams,
    query: z.strictObject({
      since: sinceField,
      at: timeField.optional().meta({ description: "24 hours ago by default." }),
    }),
    body: noBody,
    capabilities: ["reservation.read"],
    answer: reportAnswer,
    answerExample: example,
    run: async ({ query, member, now }) => {
      const at = query.at ?? new Date(now.getTime() - DAY_MS);
      if (at > now) {
        throw new InvalidFieldsError([{ field: "at", reason: "must not be in the future" }]);
      }
      return await summarise(dependencies, member, { since: query.since ?? null, at });
    },
  });
}

async function summarise(
  { sql }: Dependencies,
  member: { organization: { id: string }; visibleEmployeeIds: readonly string[] | null },
  { since, at }: { since: Date | null; at: Date },
): Promise<Report> {
  const rows = await reservationReport(sql, {
    organizationId: member.organization.id,
    actorIds: member.visibleEmployeeIds,
    since,
    at,
  });
  const statuses = RESERVATION_STATUSES.map((status) => {
    const row = rows.find((candidate) => candidate.status === status);
    return row === undefined ? noneOf(status) : lineOf(row, at);
  });
  return { at: at.toISOString(), since: timeOrNull(since), statuses };
}

function lineOf(row: ReservationStatusRow, at: Date): Report["statuses"][number] {
  return {
    status: row.status,
    count: Number(row.count),
    amountUsd: formatUsd(row.amount_nano_usd),
    costUsd: formatUsd(row.cost_nano_usd),
    oldestReservedAt: row.oldest_reserved_at.toISOString(),
    oldestAgeSeconds: Math.floor((at.getTime() - row.oldest_reserved_at.getTime()) / 1_000),
  };
}
