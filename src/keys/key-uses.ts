/**
 * When each key was last used, kept in memory by the request path and written beside it: nothing
 * waits for it, and however busy a key is, it is written once an interval. What a node has not
 * written when it is killed is lost; no decision is made by it.
 */
import type { Sql } from "../database/client.ts";
import { apiKeyUsesRecord } from "./queries.ts";

type KeyUse = { readonly organizationId: string; readonly apiKeyId: string; readonly usedAt: Date };

/** A statement's arrays stay small. */
const USES_A_STATEMENT_MAX = 2_000;

export class KeyUses {
  /** One a key that was used since the last writing: never more than there are keys. */
  #latest = new Map<string, KeyUse>();

  note(organizationId: string, apiKeyId: string, usedAt: Date): void {
    this.#latest.set(apiKeyId, { organizationId, apiKeyId, usedAt });
  }

  /** Writes what was noted. Rejects while the database is away; nothing is forgotten then. */
  async write(sql: Sql): Promise<void> {
    const noted = this.#latest;
    this.#latest = new Map();
    const uses = [...noted.values()];
    try {
      for (let start = 0; start < uses.length; start += USES_A_STATEMENT_MAX) {
        await apiKeyUsesRecord(sql, uses.slice(start, start + USES_A_STATEMENT_MAX));
      }
    } catch (error) {
      // What was noted meanwhile is newer.
      this.#latest = new Map([...noted, ...this.#latest]);
      throw error;
    }
  }
}
