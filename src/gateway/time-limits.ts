/** How long the parts of a call may take. */

/** From the call to the provider to its response headers. */
export const FIRST_BYTE_TIMEOUT_MS = 10 * 60_000;
/** A whole call, its stream included. */
export const CALL_TIMEOUT_MS = 15 * 60_000;
