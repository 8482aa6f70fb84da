/** How long the parts of a call may take. */

/** From the call to the provider to its response headers. */
export const FIRST_BYTE_TIMEOUT_MS = 10 * 60_000;
/** A whole call, its stream included. */
export const CALL_TIMEOUT_MS = 15 * 60_000;
/** After the caller has gone, the provider's stream is read on this long for its usage. */
export const DRAIN_AFTER_CANCEL_MS = 60_000;
