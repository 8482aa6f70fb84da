/**
 * What the books must say: the rules of a reservation's life on paper, without a database. Sums are
 * never carried along; each is added up from the reservations when it is asked for.
 */
import type { BudgetWindow } from "../src/budgets/window.ts";
import { HOLD_MS } from "../src/reservations/open-reservations.ts";

/** No running call is extended for longer; a copy on purpose of what the program decided. */
const RUN_MS_MAX = 20 * 60_000;

export type BookKey = { id: string; isActive: boolean; isRevoked: boolean };

export type BookReservation = {
  readonly id: string;
  readonly apiKeyId: string;
  readonly amountNanoUsd: bigint;
  readonly windows: readonly BudgetWindow[];
  /** What the caller's idempotency key stands for here; null for none. */
  readonly keyHash: string | null;
  readonly reservedAtMs: number;
  deadlineAtMs: number;
  status: "held" | "settled" | "released" | "expired";
  costNanoUsd: bigint | null;
  isCorrected: boolean;
  /** Ledger entries by kind that there must be. */
  entries: string[];
  /** Spend events that sums count: none, or the one that is in force. */
  liveEvents: number;
};

export type Closing = "settled" | "released" | "expired";

export class Book {
  readonly keys: BookKey[];
  readonly reservations: BookReservation[] = [];
  /** Limits of the windows that were opened. */
  readonly limits = new Map<string, bigint>();
  readonly #limitOfBudget: Map<string, bigint>;
  readonly #budgetOfWindow = new Map<string, string>();
  /** What the writer knows to be running, with the instant since when. */
  readonly #running = new Map<string, number>();

  constructor(keys: BookKey[], budgets: ReadonlyMap<string, bigint>) {
    this.keys = keys;
    this.#limitOfBudget = new Map(budgets);
  }

  /** A changed cap holds at once, in the windows that are open as well. */
  changeLimit(budgetId: string, limitNanoUsd: bigint): void {
    this.#limitOfBudget.set(budgetId, limitNanoUsd);
    for (const [windowId, owner] of this.#budgetOfWindow) {
      if (owner === budgetId) this.limits.set(windowId, limitNanoUsd);
    }
  }

  heldIn(windowId: string): bigint {
    return sumOf(this.#in(windowId).filter(({ status }) => status === "held"));
  }

  settledIn(windowId: string): bigint {
    return this.#in(windowId).reduce((sum, { costNanoUsd }) => sum + (costNanoUsd ?? 0n), 0n);
  }

  /** Opened by whoever names it first, also when that one is refused. */
  open(windows: readonly BudgetWindow[]): void {
    for (const { id, budgetId } of windows) {
      this.#budgetOfWindow.set(id, budgetId);
      if (!this.limits.has(id)) this.limits.set(id, this.#limitOfBudget.get(budgetId) ?? 0n);
    }
  }

  /** Decides in arrival order; answers the outcome's name. */
  reserve(asked: BookReservation, isStale: boolean): string {
    const outcome = this.#decide(asked, isStale);
    if (outcome === "granted") {
      this.reservations.push(asked);
      this.#running.set(asked.id, asked.reservedAtMs);
    }
    return outcome;
  }

  /** Answers whether this changed anything. */
  close(id: string, as: Closing, costNanoUsd: bigint): boolean {
    this.#running.delete(id);
    const found = this.reservations.find((reservation) => reservation.id === id);
    if (found === undefined) return false;
    const cost = as === "released" ? null : costNanoUsd;
    if (found.status === "held") {
      found.status = as;
      found.costNanoUsd = cost;
      found.liveEvents = cost === null ? 0 : 1;
      if ((cost ?? 0n) > 0n) found.entries.push(as === "expired" ? "recovery" : "settlement");
      return true;
    }
    if (found.status !== "expired" || found.isCorrected || as === "expired") return false;
    if (found.entries.includes("recovery")) found.entries.push("reversal");
    if ((cost ?? 0n) > 0n) found.entries.push("settlement");
    found.isCorrected = true;
    found.costNanoUsd = cost ?? 0n;
    found.liveEvents = cost === null ? 0 : 1;
    return true;
  }

  extend(nowMs: number): void {
    for (const [id, sinceMs] of this.#running) {
      if (nowMs - sinceMs > RUN_MS_MAX) {
        this.#running.delete(id);
        continue;
      }
      const found = this.reservations.find((reservation) => reservation.id === id);
      if (found?.status === "held") found.deadlineAtMs = nowMs + HOLD_MS;
    }
  }

  /** The process is gone, and with it what it knew. */
  crash(): void {
    this.#running.clear();
  }

  /** Books the bound of what is past its deadline. */
  sweep(nowMs: number): void {
    this.#expire(({ deadlineAtMs }) => deadlineAtMs < nowMs);
  }

  /** Books the bound of what an earlier process of this node held. */
  adopt(startedAtMs: number): void {
    this.#expire(({ reservedAtMs }) => reservedAtMs < startedAtMs);
  }

  #expire(isDue: (reservation: BookReservation) => boolean): void {
    for (const found of this.reservations) {
      if (found.status === "held" && isDue(found)) {
        this.close(found.id, "expired", found.amountNanoUsd);
      }
    }
  }

  #decide(asked: BookReservation, isStale: boolean): string {
    const key = this.keys.find(({ id }) => id === asked.apiKeyId);
    const isUsed = this.reservations.some(
      ({ apiKeyId, keyHash, status }) =>
        asked.keyHash !== null &&
        apiKeyId === asked.apiKeyId &&
        keyHash === asked.keyHash &&
        status !== "released",
    );
    if (key === undefined) return "key_unknown";
    if (key.isRevoked) return "key_revoked";
    if (!key.isActive) return "key_inactive";
    if (isUsed) return "duplicate";
    if (isStale) return "stale";
    const hasRoom = asked.windows.every(({ id }) => {
      const room = (this.limits.get(id) ?? 0n) - this.settledIn(id) - this.heldIn(id);
      return room >= asked.amountNanoUsd;
    });
    return hasRoom ? "granted" : "no_room";
  }

  #in(windowId: string): BookReservation[] {
    return this.reservations.filter(({ windows }) => windows.some(({ id }) => id === windowId));
  }
}

function sumOf(reservations: readonly BookReservation[]): bigint {
  return reservations.reduce((sum, { amountNanoUsd }) => sum + amountNanoUsd, 0n);
}
