/**
 * The last net of a node: what nobody caught becomes one line of the log, never a page of source
 * on standard error, and ends the process, because its state is not to be trusted with money.
 */
import { isTransient } from "../database/sqlstate.ts";
import type { Log } from "../log.ts";

export function catchUnforeseen(log: Log): void {
  process.on("uncaughtException", (error) => {
    log.error("process.unforeseen", { error });
    process.exit(1);
  });
  process.on("unhandledRejection", (error) => {
    log.error("process.unforeseen", { error });
    // The driver asks for the array types of each new connection and lets nobody wait for it.
    if (!isTransient(error)) {
      process.exit(1);
    }
  });
}
