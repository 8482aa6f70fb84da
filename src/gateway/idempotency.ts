/**
 * `Idempotency-Key`: a call that is sent twice is paid once. Kept by organization and API key. The
 * answer of the first call is stored nowhere, so a second one is told what became of it instead.
 * A call that bought nothing frees its key.
 */
import { createHash } from "node:crypto";
import { PublicError } from "../errors.ts";
import type { Authority } from "../keys/authority.ts";
import { formatUsd } from "../money.ts";
import { reservationFindByIdempotency } from "../reservations/queries.ts";
import type { Idempotency } from "../reservations/reservation.ts";
import type { GatewayParts } from "./gateway-parts.ts";

const HEADER = "idempotency-key";
const KEY_CHARACTERS_MAX = 255;

/** Null when the caller sent no key. Throws `PublicError` for an empty or overlong one. */
export function readIdempotency(
  request: Request,
  route: string,
  bodyText: string,
): Idempotency | null {
  const key = request.headers.get(HEADER);
  if (key === null) {
    return null;
  }
  if (key === "" || key.length > KEY_CHARACTERS_MAX) {
    throw new PublicError(
      "invalid_request",
      `Idempotency-Key must have 1 to ${KEY_CHARACTERS_MAX} characters.`,
      { param: HEADER },
    );
  }
  return { keyHash: sha256(key), bodyHash: sha256(`${route}\n${bodyText}`) };
}

/** What the caller of a used key is told: still running, paid already, or another body. */
export async function refusalOfDuplicate(
  authority: Authority,
  idempotency: Idempotency | null,
  parts: GatewayParts,
): Promise<PublicError> {
  const used = await reservationFindByIdempotency(parts.sql, {
    organizationId: authority.organizationId,
    apiKeyId: authority.apiKey.id,
    keyHash: idempotency?.keyHash ?? "",
  });
  if (used !== null && used.bodyHash !== idempotency?.bodyHash) {
    return new PublicError("idempotency_mismatch", undefined, { param: HEADER });
  }
  // One that was released in this instant may be tried again; until then it was running.
  if (used === null || used.status === "held") {
    return new PublicError("idempotency_in_progress", undefined, {
      param: HEADER,
      details: { original_request_id: used?.requestId ?? null },
    });
  }
  return new PublicError("idempotency_replay_unavailable", undefined, {
    param: HEADER,
    details: {
      original_request_id: used.requestId,
      reservation_id: used.id,
      status: used.status,
      cost_usd: formatUsd(used.costNanoUsd ?? 0n),
      settled_at: used.endedAt?.toISOString() ?? null,
    },
  });
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
