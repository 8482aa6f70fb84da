/**
 * The reservations that this process holds for running calls. Their deadline is moved on while they
 * run, so that the sweeper of any node soon sees which holds lost their process.
 */
import type { Clock } from "../clock.ts";
import type { Queryable } from "../database/client.ts";
import { reservationExtend } from "./queries.ts";

/** A hold without news for this long belongs to the sweeper. */
export const HOLD_MS = 3 * 60_000;
/** No call runs longer; a hold that does has lost its call, and its deadline is left to pass. */
const RUN_MS_MAX = 20 * 60_000;

export class OpenReservations {
  readonly #clock: Clock;
  readonly #open = new Map<string, { organizationId: string; heldAtMs: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  add(organizationId: string, reservationId: string): void {
    this.#open.set(reservationId, { organizationId, heldAtMs: this.#clock.now().getTime() });
  }

  delete(reservationId: string): void {
    this.#open.delete(reservationId);
  }

  /** Moves the deadline of everything that is still running. */
  async extend(sql: Queryable): Promise<void> {
    const now = this.#clock.now().getTime();
    for (const [reservationId, { heldAtMs }] of this.#open) {
      if (now - heldAtMs > RUN_MS_MAX) {
        this.#open.delete(reservationId);
      }
    }
    if (this.#open.size > 0) {
      const organizationIds = [...this.#open.values()].map(({ organizationId }) => organizationId);
      const deadlineAt = new Date(now + HOLD_MS);
      await reservationExtend(sql, organizationIds, [...this.#open.keys()], deadlineAt);
    }
  }
}
