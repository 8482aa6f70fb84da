/** The ledger entries on the page: how newer and older answers join without gap or repetition. */
import type { LedgerPage } from "./answers.ts";

/** Beyond this many the page would become slow; the API and exports serve whoever needs more. */
export const LEDGER_ENTRIES_MAX = 500;

/**
 * Puts the newest page before what is shown. When they have no entry in common, something between
 * them is missing, and the newest page alone is the truth; the reader can load older ones again.
 */
export function joinNewest(shown: LedgerPage | null, newest: LedgerPage): LedgerPage {
  if (shown === null || isComplete(newest)) return newest;
  const newestIds = new Set(newest.items.map((entry) => entry.id));
  const known = shown.items.filter((entry) => !newestIds.has(entry.id));
  if (known.length === shown.items.length) return newest;
  return { items: [...newest.items, ...known], nextCursor: shown.nextCursor };
}

/**
 * Puts an older page, asked for with `cursor`, after what is shown. An answer to another cursor is
 * late: the list has started anew meanwhile.
 */
export function joinOlder(shown: LedgerPage | null, older: LedgerPage, cursor: string): LedgerPage {
  if (shown === null) return older;
  if (shown.nextCursor !== cursor) return shown;
  const shownIds = new Set(shown.items.map((entry) => entry.id));
  const added = older.items.filter((entry) => !shownIds.has(entry.id));
  return { items: [...shown.items, ...added], nextCursor: older.nextCursor };
}

/** True when there is an older page and room for it. */
export function canLoadOlder(shown: LedgerPage): boolean {
  return !isComplete(shown) && shown.items.length < LEDGER_ENTRIES_MAX;
}

function isComplete(page: LedgerPage): boolean {
  return page.nextCursor === null || page.nextCursor === undefined;
}
