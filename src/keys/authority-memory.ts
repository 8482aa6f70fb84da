/**
 * The authorities that this process remembers. What it is told to forget is loaded again at the
 * next use; a load that began before a change is never remembered after it.
 */
import type { Sql } from "../database/client.ts";
import { type Authority, loadAuthority } from "./authority.ts";

/** Beyond it the oldest is forgotten. About 4 KB each. */
const AUTHORITIES_MAX = 20_000;

export class AuthorityMemory {
  readonly #sql: Sql;
  readonly #known = new Map<string, Authority>();
  readonly #loading = new Map<string, Promise<Authority | null>>();
  #forgetCount = 0;

  constructor(sql: Sql) {
    this.#sql = sql;
  }

  recall(apiKeyId: string): Authority | undefined {
    return this.#known.get(apiKeyId);
  }

  /** Many first requests of one key load it once. Null when there is no such key. */
  load(apiKeyId: string): Promise<Authority | null> {
    const running = this.#loading.get(apiKeyId) ?? this.#loadAnew(apiKeyId);
    this.#loading.set(apiKeyId, running);
    return running;
  }

  /** The next request loads by itself: this load has ended, or nobody waits for it any more. */
  endLoad(apiKeyId: string): void {
    this.#loading.delete(apiKeyId);
  }

  forgetOrganization(organizationId: string): void {
    this.#forgetCount++;
    this.#loading.clear();
    for (const [apiKeyId, authority] of this.#known) {
      if (authority.organizationId === organizationId) {
        this.#known.delete(apiKeyId);
      }
    }
  }

  forgetAll(): void {
    this.#forgetCount++;
    this.#loading.clear();
    this.#known.clear();
  }

  remembered(): readonly Authority[] {
    return [...this.#known.values()];
  }

  async #loadAnew(apiKeyId: string): Promise<Authority | null> {
    const countBefore = this.#forgetCount;
    const authority = await loadAuthority(this.#sql, apiKeyId);
    if (authority !== null && countBefore === this.#forgetCount) {
      this.#remember(apiKeyId, authority);
    }
    return authority;
  }

  #remember(apiKeyId: string, authority: Authority): void {
    const oldest = this.#known.keys().next();
    if (this.#known.size >= AUTHORITIES_MAX && oldest.done !== true) {
      this.#known.delete(oldest.value);
    }
    this.#known.set(apiKeyId, authority);
  }
}
