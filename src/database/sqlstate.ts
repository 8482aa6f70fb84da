/** Which of the three a database error is: worth another try, the caller's fault, or ours. */
import postgres from "postgres";

const CONNECTION_CODES: ReadonlySet<string> = new Set([
  "CONNECTION_CLOSED",
  "CONNECTION_DESTROYED",
  "CONNECTION_ENDED",
  "CONNECT_TIMEOUT",
  "ECONNREFUSED",
  "ECONNRESET",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENOENT",
  "ENOTFOUND",
  "EPIPE",
  "ETIMEDOUT",
]);

/**
 * SQLSTATE codes after which the same statement may succeed. Source: PostgreSQL manual, appendix A.
 */
const TRANSIENT_CODES: ReadonlySet<string> = new Set([
  "25006", // read_only_sql_transaction: the server became a replica
  "40001", // serialization_failure
  "40P01", // deadlock_detected
  "55P03", // lock_not_available
  "57014", // query_canceled (statement timeout)
  "57P01", // admin_shutdown
  "57P02", // crash_shutdown
  "57P03", // cannot_connect_now
]);

/** Connections, resources (memory, disk, slots) and the system itself. */
const TRANSIENT_CLASSES: ReadonlySet<string> = new Set(["08", "53", "58"]);

/** After these the server closes the connection. */
const ENDED_BY_SERVER_CODES: ReadonlySet<string> = new Set(["57P01", "57P02", "57P03", "25P03"]);

/** The driver's or the server's code of an error, or null where it has none. */
export function errorCodeOf(thrown: unknown): string | null {
  if (thrown instanceof Error && "code" in thrown && typeof thrown.code === "string") {
    return thrown.code;
  }
  return null;
}

/** Whether the connection broke: whatever was on it is gone, and nothing more can be said on it. */
export function isConnectionLost(thrown: unknown): boolean {
  const code = errorCodeOf(thrown);
  return code !== null && (CONNECTION_CODES.has(code) || ENDED_BY_SERVER_CODES.has(code));
}

/** Whether the database was out of reach, or gave up for a reason that passes. */
export function isTransient(thrown: unknown): boolean {
  const code = errorCodeOf(thrown);
  return (
    code !== null &&
    (CONNECTION_CODES.has(code) ||
      TRANSIENT_CODES.has(code) ||
      TRANSIENT_CLASSES.has(code.slice(0, 2)))
  );
}

/** The name of the constraint that refused a row, or null. Constraint names are our error codes. */
export function violatedConstraint(thrown: unknown): string | null {
  return thrown instanceof postgres.PostgresError ? (thrown.constraint_name ?? null) : null;
}
