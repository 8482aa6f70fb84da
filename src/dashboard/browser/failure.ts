/** Why the page did not get an answer, and how that is said to a person. */

/** A reason against one field of what was sent. */
export interface FieldReason {
  readonly field: string;
  readonly reason: string;
}

export type Failure =
  /** No answer came: no network, no server, or a gateway in front of it without one. */
  | { readonly kind: "unreachable" }
  /** The server answered something that this page cannot read, such as a newer format. */
  | { readonly kind: "unreadable" }
  /** The server said no; `detail` is a sentence for people. */
  | {
      readonly kind: "refused";
      readonly httpStatus: number;
      readonly detail: string;
      readonly requestId: string | null;
      readonly retryAfterSeconds: number | null;
      readonly fields: readonly FieldReason[];
    };

/** Thrown by `askManagement`; carries a `Failure` and nothing else. */
export class ManagementError extends Error {
  override readonly name = "ManagementError";
  readonly failure: Failure;

  constructor(failure: Failure) {
    super(describeFailure(failure));
    this.failure = failure;
  }
}

/** One or two sentences for the person in front of the page. */
export function describeFailure(failure: Failure): string {
  switch (failure.kind) {
    case "unreachable":
      return "The server cannot be reached. Check your connection, or ask whoever runs Spendra.";
    case "unreadable":
      return "The answer could not be read. Reload the page: Spendra may have been upgraded.";
    case "refused":
      return failure.requestId === null
        ? failure.detail
        : `${failure.detail} (request ${failure.requestId})`;
  }
}

/** True when the answer means that nobody is signed in. */
export function isSignedOut(failure: Failure): boolean {
  return failure.kind === "refused" && failure.httpStatus === 401;
}

/** The failure inside anything thrown by `askManagement`; throws everything else on. */
export function failureOf(error: unknown): Failure {
  if (error instanceof ManagementError) return error.failure;
  throw error;
}
