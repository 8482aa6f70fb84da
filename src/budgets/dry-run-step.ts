/** One check of a dry run and what it says. */
import type { ErrorCode, PublicError } from "../errors.ts";

export type DryRunStep = {
  readonly check: string;
  /** Null for what is no policy: the key, a block, the price. */
  readonly policyId: string | null;
  readonly name: string | null;
  readonly mode: "enforced" | "shadow";
  /** `counts`: it is held there, and nothing is refused by it. */
  readonly verdict: "passes" | "refuses" | "counts";
  /** Of what refuses. */
  readonly code: ErrorCode | null;
  readonly message: string;
};

export type Described = { readonly policyId: string; readonly policyName: string };

/** One check that was made. `refusal` null lets the call pass. */
export function step(
  check: string,
  policy: Described | null,
  refusal: PublicError | null,
  message = "",
): DryRunStep {
  return {
    check,
    policyId: policy?.policyId ?? null,
    name: policy?.policyName ?? null,
    mode: "enforced",
    verdict: refusal === null ? "passes" : "refuses",
    code: refusal?.code ?? null,
    message: refusal?.message ?? message,
  };
}
