/**
 * A batch of the writer as the JSON that `write_batch` unpacks (migrations 0011, 0012): names are
 * the function's column names, amounts are text so that no number is rounded on the way.
 */
import { providerAccountId, spendAccountId } from "../ledger/account.ts";
import { storableUsage } from "../usage/provider-usage.ts";
import type { Closing, NewReservation, RequestRecord } from "./reservation.ts";

/** What the column, a 4-byte integer, can hold: 24 days. */
const DURATION_MAX_MS = 2_147_483_647;

export type BatchJson = {
  readonly windows: string | null;
  readonly closings: string | null;
  readonly reservations: string | null;
  readonly requests: string | null;
};

type WindowJson = {
  organization_id: string;
  id: string;
  budget_id?: string;
  window_start?: string;
  window_end?: string | null;
};

/** A closing in the form in which it is sent, and kept on disk when it cannot be sent. */
export type ClosingJson = {
  readonly organizationId: string;
  readonly reservationId: string;
  readonly windowIds: readonly string[];
  readonly row: object;
};

export function toBatchJson(
  closings: readonly ClosingJson[],
  reservations: readonly NewReservation[],
  requestRows: readonly object[],
): BatchJson {
  const windows = new WindowList();
  for (const closing of closings) {
    for (const id of closing.windowIds) {
      windows.ordinalOf({ organization_id: closing.organizationId, id });
    }
  }
  const reservationRows = reservations.map((reservation) => toReservationRow(reservation, windows));
  return {
    windows: toJson(windows.rows),
    closings: toJson(closings.map(({ row }) => row)),
    reservations: toJson(reservationRows),
    requests: toJson(requestRows),
  };
}

/** Every window of the batch once; reservations refer to them by position, from 1. */
class WindowList {
  readonly rows: WindowJson[] = [];
  readonly #ordinals = new Map<string, number>();

  ordinalOf(window: WindowJson): number {
    const known = this.#ordinals.get(window.id);
    if (known === undefined) {
      const ordinal = this.rows.push(window);
      this.#ordinals.set(window.id, ordinal);
      return ordinal;
    }
    // A closing names a window by id alone; a reservation brings what it takes to open it.
    if (window.budget_id !== undefined && this.rows[known - 1]?.budget_id === undefined) {
      this.rows[known - 1] = window;
    }
    return known;
  }
}

function toReservationRow(reservation: NewReservation, windows: WindowList): object {
  return {
    organization_id: reservation.organizationId,
    id: reservation.id,
    request_id: reservation.requestId,
    api_key_id: reservation.apiKeyId,
    api_key_epoch: reservation.apiKeyEpoch.toString(),
    governance_epoch: reservation.governanceEpoch.toString(),
    actor_id: reservation.actorId,
    team_id: reservation.teamId,
    project_id: reservation.projectId,
    provider: reservation.provider,
    model: reservation.model,
    route: reservation.route,
    amount_nano_usd: reservation.amountNanoUsd.toString(),
    window_ids: reservation.windows.map(({ id }) => id),
    window_ordinals: reservation.windows.map((window) =>
      windows.ordinalOf({
        organization_id: reservation.organizationId,
        id: window.id,
        budget_id: window.budgetId,
        window_start: window.start.toISOString(),
        window_end: window.end?.toISOString() ?? null,
      }),
    ),
    prompt_tokens_max: reservation.promptTokensMax.toString(),
    completion_tokens_max: reservation.completionTokensMax.toString(),
    price_version: reservation.priceVersion,
    node_id: reservation.nodeId,
    deadline_at: reservation.deadlineAt.toISOString(),
    idempotency_hash: reservation.idempotency?.keyHash ?? null,
    body_hash: reservation.idempotency?.bodyHash ?? null,
  };
}

export function toClosingJson(closing: Closing): ClosingJson {
  const { organizationId, reservationId, windowIds } = closing;
  return { organizationId, reservationId, windowIds, row: toClosingRow(closing) };
}

function toClosingRow(closing: Closing): object {
  const common = {
    organization_id: closing.organizationId,
    reservation_id: closing.reservationId,
    status: closing.status,
    occurred_at: closing.occurredAt.toISOString(),
  };
  if (closing.status === "released") {
    return common;
  }
  const { booked } = closing;
  const { buckets } = booked;
  return {
    ...common,
    spend_event_id: booked.spendEventId,
    ledger_entry_id: booked.ledgerEntryId,
    debit_account_id: spendAccountId(closing.organizationId),
    credit_account_id: providerAccountId(closing.organizationId, closing.provider),
    usage_source: booked.usageSource,
    price_version: booked.priceVersion,
    cost_nano_usd: booked.costNanoUsd.toString(),
    input_uncached_tokens: buckets.inputUncachedTokens.toString(),
    input_cache_read_tokens: buckets.inputCacheReadTokens.toString(),
    input_cache_write_5m_tokens: buckets.inputCacheWrite5mTokens.toString(),
    input_cache_write_1h_tokens: buckets.inputCacheWrite1hTokens.toString(),
    input_audio_tokens: buckets.inputAudioTokens.toString(),
    input_image_tokens: buckets.inputImageTokens.toString(),
    output_text_tokens: buckets.outputTextTokens.toString(),
    output_reasoning_tokens: buckets.outputReasoningTokens.toString(),
    output_audio_tokens: buckets.outputAudioTokens.toString(),
    output_image_tokens: buckets.outputImageTokens.toString(),
    tool_calls: buckets.toolCalls.toString(),
    searches: buckets.searches.toString(),
    provider_usage: booked.providerUsage === null ? null : storableUsage(booked.providerUsage),
  };
}

export function toRequestRow(request: RequestRecord): object {
  return {
    organization_id: request.organizationId,
    id: request.requestId,
    received_at: request.receivedAt.toISOString(),
    route: request.route,
    api_key_id: request.apiKeyId,
    actor_id: request.actorId,
    provider: request.provider,
    model: request.model === null ? null : toStorableText(request.model),
    is_streaming: request.isStreaming,
    policy_result: request.policyResult,
    status: request.status,
    error_code: request.errorCode,
    reservation_id: request.reservationId,
    // A hold may be ended weeks later, and the clock may have been set back.
    duration_ms: Math.round(Math.min(Math.max(request.durationMs, 0), DURATION_MAX_MS)),
  };
}

/**
 * PostgreSQL takes neither a zero character nor half of a surrogate pair in a text (error class
 * 22), and what a caller wrote must not keep money from being booked.
 */
function toStorableText(text: string): string {
  return text.replaceAll("\u0000", "\uFFFD").toWellFormed();
}

function toJson(rows: readonly object[]): string | null {
  return rows.length === 0 ? null : JSON.stringify(rows);
}
