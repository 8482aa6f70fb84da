/** Whose request it is, and whether the key may be used at all. */
import { requireUsable } from "../keys/authenticate.ts";
import type { Authority } from "../keys/authority.ts";
import { refuseBlocked } from "../keys/refuse-blocked.ts";
import { underCurrentRules } from "./current-rules.ts";
import type { GatewayParts } from "./gateway-parts.ts";
import type { PaidCall } from "./paid-call.ts";

/** Throws `PublicError` for a key that is unknown, revoked, expired, switched off or blocked. */
export async function authenticate(
  call: PaidCall,
  token: string,
  parts: GatewayParts,
): Promise<Authority> {
  return await underCurrentRules(parts, token, null, (authority) => {
    call.authority = authority;
    requireUsable(authority.apiKey, call.receivedAt);
    refuseBlocked(authority, null, call.receivedAt);
    return authority;
  });
}
