/** A question to the database on a call's way: answered in time, or the call is told to wait. */
import { withTimeout } from "../clock.ts";
import { PublicError } from "../errors.ts";

/** A call is answered within a second whatever the database does. */
const ANSWER_TIMEOUT_MS = 900;
const RETRY_AFTER_SECONDS = 2;

/**
 * Throws `reservation_unavailable` when the answer fails or takes too long; refusals pass. `store`
 * is what the caller is told of that cannot be reached.
 */
export async function answeredInTime<Answer>(
  answer: Promise<Answer>,
  store: "budget" | "key" = "budget",
): Promise<Answer> {
  try {
    // What it brings later is not lost: who asked may still remember it.
    return await withTimeout(answer, ANSWER_TIMEOUT_MS, () => {
      throw new Error("the database did not answer in time");
    });
  } catch (cause) {
    if (cause instanceof PublicError) {
      throw cause;
    }
    throw new PublicError("reservation_unavailable", `The ${store} store cannot be reached.`, {
      retryAfterSeconds: RETRY_AFTER_SECONDS,
      cause,
    });
  }
}
