/**
 * What a batch that failed means for what was in it. The rule is to try again: a settlement is put
 * aside only when the record itself is at fault, because nobody books it after that but an
 * operator. A full disk, a standby, a password that is being changed are nobody's fault here.
 */
import postgres from "postgres";
import { errorCodeOf } from "../database/sqlstate.ts";

/**
 * `refused`: the same record would be refused again. `not_written`: nothing of it was written.
 * `in_doubt`: it may have been written, or may still be: the connection was lost on the way.
 */
export type WriteFailure = "refused" | "not_written" | "in_doubt";

/**
 * Cardinality, data and integrity errors, and what a function of ours raised. Source: PostgreSQL
 * manual, appendix A.
 */
const REFUSED_CLASSES: ReadonlySet<string> = new Set(["21", "22", "23", "P0"]);
/** A server that ends a session may have committed before: shutdowns, lost connections. */
const DOUBTFUL_CLASSES: ReadonlySet<string> = new Set(["08", "57"]);
const STATEMENT_TIMEOUT = "57014";
/** The connection was never made, so nothing was sent on it. */
const NEVER_CONNECTED: ReadonlySet<string> = new Set([
  "CONNECT_TIMEOUT",
  "ECONNREFUSED",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENOENT",
  "ENOTFOUND",
]);
/** The driver's word for a value that a statement cannot take: a mistake of this program. */
const UNDEFINED_VALUE = "UNDEFINED_VALUE";

export function writeFailureOf(thrown: unknown): WriteFailure {
  const code = errorCodeOf(thrown);
  if (code === null || code === UNDEFINED_VALUE || thrown instanceof TypeError) {
    return "refused";
  }
  if (thrown instanceof postgres.PostgresError) {
    const sqlClass = code.slice(0, 2);
    if (REFUSED_CLASSES.has(sqlClass)) {
      return "refused";
    }
    const isDoubtful = DOUBTFUL_CLASSES.has(sqlClass) && code !== STATEMENT_TIMEOUT;
    return isDoubtful ? "in_doubt" : "not_written";
  }
  return NEVER_CONNECTED.has(code) ? "not_written" : "in_doubt";
}
