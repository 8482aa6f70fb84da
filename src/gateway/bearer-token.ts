/** Takes the Spendra key out of the `Authorization` header (RFC 6750). */
import { PublicError } from "../errors.ts";

const BEARER = /^bearer +(\S+) *$/i;

/** Throws `PublicError` `invalid_api_key` when there is none. */
export function bearerToken(request: Request): string {
  const token = BEARER.exec(request.headers.get("authorization") ?? "")?.[1];
  if (token === undefined) {
    throw new PublicError(
      "invalid_api_key",
      "Send your Spendra key as `Authorization: Bearer spk_live_…`.",
    );
  }
  return token;
}
