/**
 * Which windows this process has seen open, so that only new ones are opened before a batch: at the
 * start of a period, not in every commit.
 */
import type { Sql } from "../database/client.ts";
import type { WindowJson } from "./batch-groups.ts";
import { windowsToJson } from "./batch-json.ts";
import { type BatchRow, windowsOpen } from "./queries.ts";

/** Ended windows are forgotten with all others; each is asked for once more. */
const KNOWN_MAX = 10_000;

export class OpenedWindows {
  readonly #ids = new Set<string>();

  /** Opens what is not known to be open, in a transaction of its own. */
  async open(sql: Sql, windows: readonly WindowJson[]): Promise<void> {
    const unknown = windows.filter(({ id }) => !this.#ids.has(id));
    const json = windowsToJson(unknown);
    if (json === null) {
      return;
    }
    await windowsOpen(sql, json);
    if (this.#ids.size > KNOWN_MAX) {
      this.#ids.clear();
    }
    for (const { id } of unknown) {
      this.#ids.add(id);
    }
  }

  /** A window that is gone after all (a backup was restored): each is opened again when asked. */
  check(rows: readonly BatchRow[]): void {
    if (rows.some(({ kind, limit_units }) => kind === "window" && limit_units === null)) {
      this.#ids.clear();
    }
  }
}
