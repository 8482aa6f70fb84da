/** Nobody overwrites what they have not seen: the database's half of `If-Match`. */
import { PublicError } from "../errors.ts";

/**
 * Throws `version_stale`, with the present version in its details, unless the row is still at the
 * version that the author of the change has seen. The row must be locked by the transaction that
 * changes it, or two changes of one version could both pass.
 */
export function requireVersion(row: { version: number }, expectedVersion: number): void {
  if (row.version !== expectedVersion) {
    throw new PublicError(
      "version_stale",
      `It was changed since you read it: its version is ${row.version} and not ` +
        `${expectedVersion}. Read it again.`,
      { details: { version: row.version } },
    );
  }
}
