/**
 * Nobody is refused under rules that are no longer in force. A grant under old rules cannot happen,
 * because the reserve statement compares epochs; a refusal that was decided from memory is checked
 * the same way before the caller hears of it.
 */
import { PublicError } from "../errors.ts";
import { type Authority, isCurrent } from "../keys/authority.ts";
import type { GatewayParts } from "./gateway-parts.ts";

/** Refusals of these statuses are decided from what was loaded before. */
const DECIDED_FROM_MEMORY: ReadonlySet<number> = new Set([401, 403, 404]);

/**
 * Decides under the key's authority, and once more if that turns out to be out of date. `loaded` is
 * what an earlier step of the same call has authenticated: a key is proven once a call.
 */
export async function underCurrentRules<Decision>(
  parts: GatewayParts,
  token: string,
  loaded: Authority | null,
  decide: (authority: Authority) => Decision | Promise<Decision>,
): Promise<Decision> {
  const authority = loaded ?? (await parts.authenticator.authenticate(token));
  try {
    return await decide(authority);
  } catch (refusal) {
    if (!(refusal instanceof PublicError) || !DECIDED_FROM_MEMORY.has(refusal.status)) {
      throw refusal;
    }
    // A database that cannot be asked changes nothing about the refusal.
    if (await isCurrent(parts.sql, authority).catch(() => true)) {
      throw refusal;
    }
  }
  parts.authenticator.forgetOrganization(authority.organizationId);
  return await decide(await parts.authenticator.authenticate(token));
}
