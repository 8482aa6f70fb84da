/**
 * A batch of the writer as the JSON that `write_batch` unpacks (migrations 0018 to 0022): names are
 * the function's column names, amounts are text so that no number is rounded on the way. Counts of
 * a closing that are 0 are left out.
 */
import { isRateWindowId } from "../budgets/rate-window.ts";
import { providerAccountId, spendAccountId } from "../ledger/account.ts";
import type { UsageBuckets } from "../usage/buckets.ts";
import { storableUsage } from "../usage/provider-usage.ts";
import { groupReservations, type WindowJson, WindowList } from "./batch-groups.ts";
import type { Closing, NewReservation, RequestRecord } from "./reservation.ts";

/** What the column, a 4-byte integer, can hold: 24 days. */
const DURATION_MAX_MS = 2_147_483_647;

const COUNT_COLUMNS: readonly (readonly [keyof UsageBuckets, string])[] = [
  ["inputUncachedTokens", "input_uncached_tokens"],
  ["inputCacheReadTokens", "input_cache_read_tokens"],
  ["inputCacheWrite5mTokens", "input_cache_write_5m_tokens"],
  ["inputCacheWrite1hTokens", "input_cache_write_1h_tokens"],
  ["inputAudioTokens", "input_audio_tokens"],
  ["inputImageTokens", "input_image_tokens"],
  ["outputTextTokens", "output_text_tokens"],
  ["outputReasoningTokens", "output_reasoning_tokens"],
  ["outputAudioTokens", "output_audio_tokens"],
  ["outputImageTokens", "output_image_tokens"],
  ["toolCalls", "tool_calls"],
  ["searches", "searches"],
];

/** The arguments of `write_batch`; an empty part is null. */
export type BatchJson = {
  readonly windows: string | null;
  /** Whether one of the windows is a rate limit's. */
  readonly hasRates: boolean;
  readonly closings: string | null;
  readonly closingCount: number;
  readonly groups: string | null;
  readonly members: string | null;
  readonly hasIdempotency: boolean;
  readonly requests: string | null;
  /** The windows that reservations ask for: they must be open before. */
  readonly asked: readonly WindowJson[];
};

/** A closing in the form in which it is sent, and kept on disk when it cannot be sent. */
export type ClosingJson = {
  readonly organizationId: string;
  readonly reservationId: string;
  readonly windowIds: readonly string[];
  readonly row: { readonly status: string; readonly [column: string]: unknown };
};

export function toBatchJson(
  closings: readonly ClosingJson[],
  reservations: readonly NewReservation[],
  requestRows: readonly object[],
): BatchJson {
  const windows = new WindowList();
  for (const closing of closings) {
    for (const id of closing.windowIds) {
      windows.name(closing.organizationId, id);
    }
  }
  const { shared, members } = groupReservations(reservations, windows);
  return {
    windows: windowsToJson(windows.rows),
    hasRates: windows.rows.some(({ id }) => isRateWindowId(id)),
    closings: toJson(closings.map(({ row }) => row)),
    closingCount: closings.length,
    groups: toJson(shared),
    members: toJson(members),
    hasIdempotency: reservations.some(({ idempotency }) => idempotency !== null),
    requests: toJson(requestRows),
    asked: windows.rows.filter(({ asked }) => asked !== undefined),
  };
}

export function toClosingJson(closing: Closing): ClosingJson {
  const { organizationId, reservationId, windowIds } = closing;
  return { organizationId, reservationId, windowIds, row: toClosingRow(closing) };
}

function toClosingRow(closing: Closing): ClosingJson["row"] {
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
  return {
    ...common,
    spend_event_id: booked.spendEventId,
    ledger_entry_id: booked.ledgerEntryId,
    debit_account_id: spendAccountId(closing.organizationId),
    credit_account_id: providerAccountId(closing.organizationId, closing.provider),
    usage_source: booked.usageSource,
    price_version: booked.priceVersion,
    cost_nano_usd: booked.costNanoUsd.toString(),
    ...countsOf(booked.buckets),
    provider_usage: booked.providerUsage === null ? null : storableUsage(booked.providerUsage),
  };
}

/** Most of a call's buckets are empty. */
function countsOf(buckets: UsageBuckets): Record<string, string> {
  const counts: Record<string, string> = {};
  for (const [bucket, column] of COUNT_COLUMNS) {
    const count = buckets[bucket];
    if (count !== 0n) {
      counts[column] = count.toString();
    }
  }
  return counts;
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

/** Also for `open_windows`. JSON has no big integers: they go as text. */
export function windowsToJson(windows: readonly WindowJson[]): string | null {
  return toJson(windows.map((row) => ({ ...row, asked: row.asked?.toString() })));
}

function toJson(rows: readonly object[]): string | null {
  return rows.length === 0 ? null : JSON.stringify(rows);
}
