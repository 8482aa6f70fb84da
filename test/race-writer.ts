/**
 * A process with one writer, for races between processes. Takes one order a line on standard input,
 * asks for all of its reservations at once, and answers one line: the amounts that were granted.
 */
import { createInterface } from "node:readline";
import { newId } from "../src/id.ts";
import type { NewReservation } from "../src/reservations/reservation.ts";
import type { Writer } from "../src/reservations/writer.ts";
import { settled } from "./sample-reservations.ts";
import { openTestWriter } from "./test-writer.ts";

/** Amounts are decimal text, because JSON has no whole numbers of that size. */
export type RaceOrder = {
  organizationId: string;
  apiKeyId: string;
  teamId: string;
  governanceEpoch: string;
  budgetIds: string[];
  amounts: string[];
  /** Whether each granted one is settled at once, for a third of its amount. */
  settles: boolean;
};

export type RaceAnswer = { granted: string[]; refused: string[]; spent: string };

/** The window of a race: one a budget, all of them of the same month. */
export function raceWindow(budgetId: string) {
  return {
    id: `win_${budgetId.slice(4)}_race`,
    budgetId,
    start: new Date("2026-11-01T00:00:00Z"),
    end: new Date("2036-12-01T00:00:00Z"),
  };
}

export function toReservations(order: RaceOrder): NewReservation[] {
  const now = new Date();
  return order.amounts.map((amount) => ({
    organizationId: order.organizationId,
    id: newId("reservation", now),
    requestId: newId("request", now),
    apiKeyId: order.apiKeyId,
    apiKeyEpoch: 1n,
    governanceEpoch: BigInt(order.governanceEpoch),
    actorId: "agt_race",
    teamId: order.teamId,
    projectId: null,
    provider: "openai",
    model: "gpt-4o-mini",
    route: "/v1/chat/completions",
    amountNanoUsd: BigInt(amount),
    windows: order.budgetIds.map(raceWindow),
    softWindows: [],
    rateWindows: [],
    promptTokensMax: 10n,
    completionTokensMax: 20n,
    priceVersion: "test",
    nodeId: "nod_race",
    deadlineAt: new Date(now.getTime() + 60_000),
    idempotency: null,
  }));
}

/** Asks for everything at once. */
export async function race(writer: Writer, order: RaceOrder): Promise<RaceAnswer> {
  const granted: string[] = [];
  const refused: string[] = [];
  let spent = 0n;
  const runs = toReservations(order).map(async (reservation) => {
    const { status } = await writer.reserve(reservation);
    if (status !== "granted" && status !== "no_room") {
      throw new Error(`a reservation was answered with ${status}`);
    }
    (status === "granted" ? granted : refused).push(reservation.amountNanoUsd.toString());
    if (status === "granted" && order.settles) {
      const costNanoUsd = reservation.amountNanoUsd / 3n;
      spent += costNanoUsd;
      await writer.close(settled(reservation, costNanoUsd), null);
    }
  });
  await Promise.all(runs);
  return { granted, refused, spent: spent.toString() };
}

if (import.meta.main) {
  const opened = await openTestWriter(process.argv[2] ?? "");
  for await (const line of createInterface({ input: process.stdin })) {
    const answer = await race(opened.writer, JSON.parse(line) as RaceOrder);
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
  await opened.close();
}
