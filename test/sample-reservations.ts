/** Makes reservations and their ends for tests that use the writer directly. */
import type { BudgetWindow } from "../src/budgets/window.ts";
import type { DemoCompany } from "../src/cli/demo-company.ts";
import type { Sql } from "../src/database/client.ts";
import { newId } from "../src/id.ts";
import type { Closing, NewReservation } from "../src/reservations/reservation.ts";
import { emptyBuckets } from "../src/usage/buckets.ts";

export const HELD_NANO_USD = 1_000n;

export type ReservationMaker = (changes?: Partial<NewReservation>) => NewReservation;

/** Reservations of the company's key in both of its budgets, under the rules of this moment. */
export async function makeReservations(sql: Sql, company: DemoCompany): Promise<ReservationMaker> {
  const budgets = await sql<{ id: string }[]>`select id from budgets order by id`;
  const windows: BudgetWindow[] = budgets.map(({ id }) => ({
    id: `win_${id.slice(4)}_test`,
    budgetId: id,
    start: new Date("2026-11-01T00:00:00Z"),
    end: new Date("2026-12-01T00:00:00Z"),
  }));
  const [organization] = await sql<[{ epoch: bigint }]>`
    select governance_epoch as epoch from organizations
  `;
  return (changes = {}) => ({
    organizationId: company.organizationId,
    id: newId("reservation", new Date()),
    requestId: newId("request", new Date()),
    apiKeyId: company.apiKeyId,
    apiKeyEpoch: 1n,
    governanceEpoch: organization.epoch,
    actorId: "agt_test",
    teamId: company.teamId,
    projectId: null,
    provider: "openai",
    model: "gpt-4o-mini",
    route: "/v1/chat/completions",
    amountNanoUsd: HELD_NANO_USD,
    windows,
    softWindows: [],
    rateWindows: [],
    promptTokensMax: 10n,
    completionTokensMax: 20n,
    priceVersion: "test",
    nodeId: "nod_test",
    deadlineAt: new Date(Date.now() + 60_000),
    idempotency: null,
    ...changes,
  });
}

export function settled(held: NewReservation, costNanoUsd: bigint): Closing {
  return {
    ...released(held),
    status: "settled",
    booked: {
      spendEventId: newId("spendEvent", new Date()),
      ledgerEntryId: newId("ledgerEntry", new Date()),
      usageSource: "provider",
      priceVersion: "test",
      costNanoUsd,
      buckets: { ...emptyBuckets, inputUncachedTokens: 3n, outputTextTokens: 4n },
      providerUsage: { prompt_tokens: 3 },
    },
  };
}

export function released(held: NewReservation): Closing & { status: "released" } {
  return {
    organizationId: held.organizationId,
    reservationId: held.id,
    provider: held.provider,
    windowIds: held.windows.map(({ id }) => id),
    occurredAt: new Date(),
    status: "released",
  };
}
