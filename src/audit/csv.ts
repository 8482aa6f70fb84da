/**
 * CSV as RFC 4180 has it, for spreadsheets that take a cell for a formula. Every cell is quoted, so
 * that none is split where a spreadsheet separates by semicolons, and what would begin a formula
 * gets an apostrophe in front (OWASP, "CSV Injection"): a name is text that other people choose.
 */

/** Also after blanks, and in the full-width forms that spreadsheets understand. */
const FORMULA = /^(\s*[=+\-@＝＋－＠]|[\t\r\n])/;

/** One line with its end. Null is an empty cell. */
export function csvLine(cells: readonly (string | null)[]): string {
  return `${cells.map(cellOf).join(",")}\r\n`;
}

function cellOf(text: string | null): string {
  if (text === null) {
    return "";
  }
  const harmless = FORMULA.test(text) ? `'${text}` : text;
  return `"${harmless.replaceAll('"', '""')}"`;
}
