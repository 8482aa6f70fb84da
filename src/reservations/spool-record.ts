/** What is kept on disk of a settlement that the database could not take. */
import type { ClosingJson } from "./batch-json.ts";

/** Enough to book it, on this version or a later one. */
export type SpoolRecord = {
  readonly version: 1;
  readonly closing: ClosingJson;
  readonly request: object | null;
};
