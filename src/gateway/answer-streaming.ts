/**
 * An answer that comes as events: passed on as they come, byte for byte, and ended only when the
 * cost is booked. The pump is pulled by the caller, so a slow caller slows the provider instead of
 * filling our memory. When the caller has gone, the rest is drained (drain-stream.ts) and booked.
 */

import type { PublicError } from "../errors.ts";
import { formatUsd } from "../money.ts";
import type { Upstream } from "../providers/upstream.ts";
import type { Receipt } from "../reservations/settle.ts";
import { answerHeaders } from "./answer-headers.ts";
import { AnswerTally } from "./answer-tally.ts";
import type { ChatRequest } from "./chat-request.ts";
import { drainStream, type ReadResult } from "./drain-stream.ts";
import { settleByEstimate, settleByUsage } from "./end-call.ts";
import { openAiErrorEvent } from "./error-body.ts";
import type { GatewayParts } from "./gateway-parts.ts";
import type { PaidCall } from "./paid-call.ts";

/** A caller who sends this header gets the cost as a last comment before the stream's end. */
const STREAM_COST_HEADER = "x-spendra-stream-cost";
const CLIENT_CLOSED_REQUEST = 499;

type Controller = ReadableStreamDefaultController<Uint8Array>;

export function answerStreaming(
  call: PaidCall,
  chat: ChatRequest,
  upstream: Upstream,
  parts: GatewayParts,
): Response {
  const pump = new StreamPump(call, chat, upstream, parts);
  const stream = new ReadableStream<Uint8Array>(
    {
      pull: (controller) => pump.pull(controller),
      cancel: () => pump.abandon(),
    },
    // Nothing is read ahead: one event is fetched when one is wanted.
    { highWaterMark: 0 },
  );
  if (call.httpRequest.signal.aborted) {
    pump.abandon();
  } else {
    call.httpRequest.signal.addEventListener("abort", () => pump.abandon(), { once: true });
  }
  const headers = answerHeaders(call, upstream.response.headers, { status: "running" });
  return new Response(stream, { status: upstream.response.status, headers });
}

class StreamPump {
  readonly #call: PaidCall;
  readonly #upstream: Upstream;
  readonly #parts: GatewayParts;
  readonly #source: ReadableStreamDefaultReader<Uint8Array>;
  readonly #tally: AnswerTally;
  readonly #wantsCost: boolean;
  readonly #ended = Promise.withResolvers<void>();
  /** What `pull` waits for now, so that the drain does not miss it. */
  #reading: Promise<ReadResult> | null = null;
  #settled: Promise<Receipt> | null = null;
  #isCallerGone = false;
  #cutBy: PublicError | null = null;

  constructor(call: PaidCall, chat: ChatRequest, upstream: Upstream, parts: GatewayParts) {
    this.#call = call;
    this.#upstream = upstream;
    this.#parts = parts;
    this.#source = bodyOf(upstream.response).getReader();
    this.#tally = new AnswerTally({ hidesUsageChunk: !chat.wantsUsageChunk });
    this.#wantsCost = call.httpRequest.headers.get(STREAM_COST_HEADER) === "true";
    const cut = (refusal: PublicError) => this.cut(refusal);
    parts.running.track(this.#ended.promise, { call, abort: upstream.abort, cut });
  }

  /** Brings the next bytes to the caller, or the end. */
  async pull(controller: Controller): Promise<void> {
    try {
      let hasEnqueued = false;
      while (!(hasEnqueued || this.#isCallerGone)) {
        this.#reading = this.#source.read();
        const { done, value } = await this.#reading;
        if (this.#isCallerGone) {
          // The drain has taken this read over.
          return;
        }
        this.#reading = null;
        if (this.#cutBy !== null) {
          await this.#endCut(controller, this.#cutBy);
          return;
        }
        if (done) {
          await this.#finish(controller, [this.#tally.rest()]);
          controller.close();
          return;
        }
        const { forward, end } = this.#tally.push(value);
        hasEnqueued = enqueue(controller, forward);
        if (end.length > 0) {
          await this.#finish(controller, end);
          hasEnqueued = true;
        }
      }
    } catch (error) {
      await this.#breakOff(controller, error);
    }
  }

  /** The caller has gone. What was bought is still booked; nobody waits for the booking. */
  abandon(): void {
    if (this.#isCallerGone) {
      return;
    }
    this.#isCallerGone = true;
    if (this.#settled !== null) {
      // Its usage is known and nothing behind it is wanted any more.
      this.#upstream.abort();
      return;
    }
    void this.#drain().catch((error: unknown) => {
      this.#parts.log.error("gateway.drain_failed", { ...this.#call.logFields(), error });
    });
  }

  /** Nothing more may be bought. What was seen is booked, also when the caller reads no more. */
  cut(refusal: PublicError): void {
    if (this.#cutBy !== null || this.#settled !== null) {
      return;
    }
    this.#cutBy = refusal;
    this.#upstream.abort();
    if (this.#isCallerGone) {
      // The drain ends with its connection, and books.
      return;
    }
    void this.#settle(this.#upstream.response.status).catch((error: unknown) => {
      this.#parts.log.error("gateway.cut_failed", { ...this.#call.logFields(), error });
    });
  }

  async #finish(controller: Controller, end: readonly Buffer[]): Promise<void> {
    const isFirstEnd = this.#settled === null;
    const receipt = await this.#settle(this.#upstream.response.status);
    if (this.#isCallerGone) {
      return;
    }
    if (this.#wantsCost && isFirstEnd) {
      const cost = `: x-spendra-cost-usd ${formatUsd(receipt.costNanoUsd)}\n\n`;
      controller.enqueue(new TextEncoder().encode(cost));
    }
    enqueue(controller, end);
  }

  /** The provider's stream broke: book what is known, and let the caller see a broken stream. */
  async #breakOff(controller: Controller, error: unknown): Promise<void> {
    if (this.#isCallerGone) {
      return;
    }
    if (this.#cutBy !== null) {
      await this.#endCut(controller, this.#cutBy);
      return;
    }
    const provider = this.#call.provider ?? "other";
    this.#parts.metrics.providerErrors.inc({ provider, error_class: "stream_broken" });
    this.#upstream.abort();
    await this.#settle(this.#upstream.response.status, "provider_error");
    controller.error(error);
  }

  /** The caller is told once it is booked, in place of the rest of the answer. */
  async #endCut(controller: Controller, refusal: PublicError): Promise<void> {
    await this.#settle(this.#upstream.response.status);
    if (!this.#isCallerGone) {
      controller.enqueue(openAiErrorEvent(refusal, this.#call.requestId));
      controller.close();
    }
  }

  async #drain(): Promise<void> {
    const source = { reader: this.#source, pending: this.#reading };
    await drainStream(source, this.#tally, this.#upstream, this.#parts.drainLimits);
    await this.#settle(CLIENT_CLOSED_REQUEST);
  }

  /** Once, whoever comes first. */
  #settle(status: number, errorCode: string | null = null): Promise<Receipt> {
    this.#settled ??= this.#book(status, this.#cutBy?.code ?? errorCode);
    return this.#settled;
  }

  async #book(status: number, errorCode: string | null): Promise<Receipt> {
    const { usage } = this.#tally;
    this.#call.lap("stream");
    try {
      if (usage !== null && this.#tally.isReportComplete) {
        return await settleByUsage(this.#call, this.#parts, usage, status);
      }
      const seen = { seenBytes: this.#tally.unreportedBytes, reported: usage };
      return await settleByEstimate(this.#call, this.#parts, status, errorCode, seen);
    } finally {
      this.#upstream.finish();
      this.#ended.resolve();
    }
  }
}

function enqueue(controller: Controller, events: readonly Buffer[]): boolean {
  const bytes = events.length === 1 ? events[0] : Buffer.concat(events);
  if (bytes === undefined || bytes.length === 0) {
    return false;
  }
  controller.enqueue(bytes);
  return true;
}

function bodyOf(response: Response): ReadableStream<Uint8Array> {
  return response.body ?? new ReadableStream({ start: (controller) => controller.close() });
}
