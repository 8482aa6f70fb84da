/** What a refusal of each status looks like, for the OpenAPI document. */
import { STATUS_CODES } from "node:http";
import { type ErrorCode, errorCatalogue } from "../errors.ts";

/** The code that stands for a status in the document; a status has several. */
const CODES = {
  400: "invalid_request",
  401: "not_signed_in",
  403: "capability_missing",
  404: "not_found",
  409: "version_stale",
  413: "request_too_large",
  428: "precondition_required",
  429: "sign_in_throttled",
  500: "internal_error",
  503: "reservation_unavailable",
} as const satisfies Record<number, ErrorCode>;

export type ProblemStatus = keyof typeof CODES;

/** A reference to the response of that status. */
export function problemReference(status: ProblemStatus): { $ref: string } {
  return { $ref: `#/components/responses/Problem${status}` };
}

/** The responses that the references name. */
export function problemResponses(): Record<string, object> {
  const entries = Object.entries(CODES).map(([status, code]) => [
    `Problem${status}`,
    {
      description: errorCatalogue[code].summary,
      headers: { "x-request-id": { $ref: "#/components/headers/RequestId" } },
      content: {
        "application/problem+json": {
          schema: { $ref: "#/components/schemas/Problem" },
          example: exampleOf(code),
        },
      },
    },
  ]);
  return Object.fromEntries(entries) as Record<string, object>;
}

function exampleOf(code: ErrorCode): object {
  const { status, summary } = errorCatalogue[code];
  const isInput = code === "invalid_request";
  return {
    type: "about:blank",
    title: STATUS_CODES[status] ?? "",
    status,
    detail: isInput ? "These fields cannot be accepted: amountUsd." : summary,
    code,
    request_id: "req_01KAJ3M2YV8Q4T6W9ZB5C7D1E2",
    errors: isInput
      ? [{ field: "amountUsd", reason: 'must be US dollars as a decimal string, such as "12.5"' }]
      : [],
  };
}
