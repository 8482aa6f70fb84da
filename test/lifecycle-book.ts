/**
 * What the books must say: the rules of a reservation's life on paper, without a database. Sums are
 * never carried along; each is added up from the reservations when it is asked for.
 */
import type { RateLimit, RateWindow } from "../src/budgets/rate-window.ts";
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
  readonly softWindows: readonly BudgetWindow[];
  readonly rateWindows: readonly RateWindow[];
  /** What the caller's idempotency key stands for here; null for none. */
  readonly keyHash: string | null;
  readonly reservedAtMs: number;
  deadlineAtMs: number;
  status: "held" | "settled" | "released" | "expired";
  costNanoUsd: bigint | null;
  /** What it used when it ended first; a correction comes too late to matter for a rate. */
  usedTokens: bigint;
  isCorrected: boolean;
  /** Ledger entries by kind that there must be. */
  entries: string[];
  /** Spend events that sums count: none, or the one that is in force. */
  liveEvents: number;
};

/** Of every call of the model: what it can use, and what a settlement says that it used. */
export const MOST_TOKENS = { prompt: 10n, completion: 20n };
export const USED_TOKENS = { prompt: 3n, completion: 4n };
const MOST = MOST_TOKENS.prompt + MOST_TOKENS.completion;
const USED = USED_TOKENS.prompt + USED_TOKENS.completion;

export type Closing = "settled" | "released" | "expired";

type Asked = Pick<BookReservation, "windows" | "softWindows" | "rateWindows">;

export class Book {
  readonly keys: BookKey[];
  readonly reservations: BookReservation[] = [];
  /** Limits of the windows that were opened. */
  readonly limits = new Map<string, bigint>();
  readonly rateLimits = new Map<string, bigint>();
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

  rateHeldIn(windowId: string): bigint {
    const held = this.#inRate(windowId).filter(({ call }) => call.status === "held");
    return held.reduce((sum, { window }) => sum + neededIn(window), 0n);
  }

  rateUsedIn(windowId: string): bigint {
    const ended = this.#inRate(windowId).filter(({ call }) => call.status !== "held");
    return ended.reduce((sum, { call, window }) => {
      if (window.unit === "concurrent_calls") return sum;
      return sum + (window.unit === "requests" ? 1n : call.usedTokens);
    }, 0n);
  }

  /** Opened by whoever names it first, also when that one is refused. */
  open({ windows, softWindows, rateWindows }: Asked, rateLimits: readonly RateLimit[]): void {
    for (const { id, budgetId } of [...windows, ...softWindows]) {
      this.#budgetOfWindow.set(id, budgetId);
      if (!this.limits.has(id)) this.limits.set(id, this.#limitOfBudget.get(budgetId) ?? 0n);
    }
    for (const { id, policyId } of rateWindows) {
      const rule = rateLimits.find((limit) => limit.policyId === policyId);
      this.rateLimits.set(id, rule?.limit ?? 0n);
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
  close(id: string, as: Closing, costNanoUsd: bigint, usedTokens = USED): boolean {
    this.#running.delete(id);
    const found = this.reservations.find((reservation) => reservation.id === id);
    if (found === undefined) return false;
    const cost = as === "released" ? null : costNanoUsd;
    if (found.status === "held") {
      found.status = as;
      found.costNanoUsd = cost;
      found.usedTokens = as === "released" ? 0n : usedTokens;
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
        this.close(found.id, "expired", found.amountNanoUsd, MOST);
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
    const hasRate = asked.rateWindows.every((window) => {
      const room = (this.rateLimits.get(window.id) ?? 0n) - this.rateUsedIn(window.id);
      return room - this.rateHeldIn(window.id) >= neededIn(window);
    });
    return hasRoom && hasRate ? "granted" : "no_room";
  }

  #in(windowId: string): BookReservation[] {
    return this.reservations.filter(({ windows, softWindows }) =>
      [...windows, ...softWindows].some(({ id }) => id === windowId),
    );
  }

  #inRate(windowId: string): { call: BookReservation; window: RateWindow }[] {
    return this.reservations.flatMap((call) =>
      call.rateWindows.filter(({ id }) => id === windowId).map((window) => ({ call, window })),
    );
  }
}

function neededIn({ unit }: RateWindow): bigint {
  return unit === "tokens" ? MOST : 1n;
}

function sumOf(reservations: readonly BookReservation[]): bigint {
  return reservations.reduce((sum, { amountNanoUsd }) => sum + amountNanoUsd, 0n);
}
