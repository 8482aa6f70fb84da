/**
 * One request on its way through the gateway, and what becomes known of it step by step: enough to
 * put it on record and to log it however it ends.
 */
import type { Clock } from "../clock.ts";
import { newId } from "../id.ts";
import type { Authority } from "../keys/authority.ts";
import type { LogFields } from "../log.ts";
import type { RequestRecord } from "../reservations/reservation.ts";
import type { HeldReservation } from "../reservations/reserve.ts";

export class PaidCall {
  readonly requestId: string;
  readonly receivedAt: Date;
  readonly httpRequest: Request;
  readonly route: string;
  authority: Authority | null = null;
  readonly #clock: Clock;
  readonly #startedMs: number;
  readonly #timings: string[] = [];
  #lapMs: number;
  #provider: string | null = null;
  #model: string | null = null;
  #isStreaming = false;
  #held: HeldReservation | null = null;

  constructor(httpRequest: Request, route: string, clock: Clock) {
    this.httpRequest = httpRequest;
    this.route = route;
    this.#clock = clock;
    this.receivedAt = clock.now();
    this.requestId = newId("request", this.receivedAt);
    this.#startedMs = clock.monotonicMs();
    this.#lapMs = this.#startedMs;
  }

  /** What the body asks for, once it is read. */
  describe(provider: string, model: string, isStreaming: boolean): void {
    this.#provider = provider;
    this.#model = model;
    this.#isStreaming = isStreaming;
  }

  hold(held: HeldReservation): void {
    this.#held = held;
  }

  get held(): HeldReservation | null {
    return this.#held;
  }

  get provider(): string | null {
    return this.#provider;
  }

  get model(): string | null {
    return this.#model;
  }

  get durationMs(): number {
    return this.#clock.monotonicMs() - this.#startedMs;
  }

  /** Ends a phase of the request. */
  lap(phase: string): void {
    const nowMs = this.#clock.monotonicMs();
    this.#timings.push(`${phase};dur=${(nowMs - this.#lapMs).toFixed(2)}`);
    this.#lapMs = nowMs;
  }

  /** The phases so far, for the `server-timing` header (W3C Server Timing). */
  serverTiming(): string {
    return this.#timings.join(", ");
  }

  /** Null while it is not known whose request this is: then there is nobody to show it to. */
  record(policyResult: string, status: number, errorCode: string | null): RequestRecord | null {
    if (this.authority === null) {
      return null;
    }
    return {
      organizationId: this.authority.organizationId,
      requestId: this.requestId,
      receivedAt: this.receivedAt,
      route: this.route,
      apiKeyId: this.authority.apiKey.id,
      actorId: this.authority.actor.id,
      provider: this.#provider,
      model: this.#model,
      isStreaming: this.#isStreaming,
      policyResult,
      status,
      errorCode,
      reservationId: this.#held?.id ?? null,
      durationMs: this.durationMs,
    };
  }

  /** Whose request it is and what it asks for, as far as that is known. */
  logFields(): LogFields {
    return {
      requestId: this.requestId,
      route: this.route,
      method: this.httpRequest.method,
      isStreaming: this.#isStreaming,
      durationMs: Math.round(this.durationMs * 100) / 100,
      ...(this.#provider === null ? {} : { provider: this.#provider }),
      ...(this.#model === null ? {} : { model: this.#model }),
      ...(this.authority === null
        ? {}
        : {
            organizationId: this.authority.organizationId,
            apiKeyId: this.authority.apiKey.id,
            actorId: this.authority.actor.id,
          }),
    };
  }
}
