/**
 * Time limits on the server's side. On a connection to PostgreSQL itself they belong to the
 * session. A pooler refuses or drops them there, and hands the session to somebody else after each
 * transaction, so there each transaction begins with its own.
 */

/** In milliseconds, by PostgreSQL's names. */
export type Limits = {
  readonly statement_timeout: number;
  readonly lock_timeout: number;
  readonly idle_in_transaction_session_timeout: number;
};

/** By the pool's options, which all its connections share. */
const settingsByPool = new WeakMap<object, string>();

/** From now on each transaction of this pool begins with these limits. */
export function limitTransactions(pool: { readonly options: object }, limits: Limits): void {
  const settings = Object.entries(limits).map(([name, ms]) => `; set local ${name} = ${ms}`);
  settingsByPool.set(pool.options, settings.join(""));
}

/** What follows a `begin` on this pool: statements, each after a semicolon, or nothing. */
export function limitsAfterBegin(pool: { readonly options: object }): string {
  return settingsByPool.get(pool.options) ?? "";
}
