/**
 * Pages by keyset: a cursor names the last row of the page before, so that a page costs the same
 * wherever it is and new rows shift nothing. To callers a cursor is opaque.
 */
import { z } from "zod";
import { type IdKind, idFromSuffix, isId } from "../id.ts";
import { InvalidFieldsError } from "./problem.ts";

const LIMIT_DEFAULT = 50;
const LIMIT_MAX = 200;
const CURSOR_CHARACTERS_MAX = 200;

/** Sorts after every id: a ULID's first character is at most 7. */
const ID_SUFFIX_BEYOND = "8";
const TIME_BEYOND = "infinity";
/** The last microsecond of the year 9999, the last that prints as an ISO 8601 time. */
const MICROSECONDS_MAX = 253_402_300_799_999_999n;

export const pageQuery = z.strictObject({
  limit: z.coerce
    .number(`must be 1 to ${LIMIT_MAX}`)
    .int(`must be 1 to ${LIMIT_MAX}`)
    .min(1, `must be 1 to ${LIMIT_MAX}`)
    .max(LIMIT_MAX, `must be 1 to ${LIMIT_MAX}`)
    .default(LIMIT_DEFAULT)
    .meta({ description: "Rows of one page." }),
  cursor: z
    .string()
    .max(CURSOR_CHARACTERS_MAX, "is not a cursor of this list")
    .optional()
    .meta({ description: "`nextCursor` of the page before." }),
});

type PageQuery = z.output<typeof pageQuery>;

/** A place in a list that is ordered by time and id, newest first. */
type TimePlace = {
  /** A timestamptz as text; microseconds would not survive a JavaScript date. */
  at: string;
  id: string;
};

type Page<Item> = { items: Item[]; nextCursor: string | null };

/** Reads the cursor of a list that is ordered by id. */
export function idPlace(kind: IdKind, query: PageQuery): string {
  if (query.cursor === undefined) {
    return idFromSuffix(kind, ID_SUFFIX_BEYOND);
  }
  const id = decode(query.cursor);
  if (!isId(kind, id)) {
    throw malformedCursor();
  }
  return id;
}

/** Reads the cursor of a list that is ordered by time and id. */
export function timePlace(kind: IdKind, query: PageQuery): TimePlace {
  if (query.cursor === undefined) {
    return { at: TIME_BEYOND, id: idFromSuffix(kind, ID_SUFFIX_BEYOND) };
  }
  const [microseconds = "", id = ""] = decode(query.cursor).split(" ", 2);
  if (!/^\d{1,18}$/.test(microseconds) || !isId(kind, id)) {
    throw malformedCursor();
  }
  const atMicroseconds = BigInt(microseconds);
  if (atMicroseconds > MICROSECONDS_MAX) {
    throw malformedCursor();
  }
  const milliseconds = new Date(Number(atMicroseconds / 1000n)).toISOString().slice(0, -1);
  const rest = (atMicroseconds % 1000n).toString().padStart(3, "0");
  return { at: `${milliseconds}${rest}Z`, id };
}

export function cursorOfId(row: { id: string }): string {
  return encode(row.id);
}

export function cursorOfTime(atMicroseconds: bigint, row: { id: string }): string {
  return encode(`${atMicroseconds} ${row.id}`);
}

/** Makes a page. One row more than `limit` was asked for, to see whether another page follows. */
export function pageOf<Row, Item>(
  rows: readonly Row[],
  limit: number,
  toItem: (row: Row) => Item,
  cursorOf: (row: Row) => string,
): Page<Item> {
  const shown = rows.slice(0, limit);
  const last = shown.at(-1);
  const hasMore = rows.length > limit && last !== undefined;
  return { items: shown.map(toItem), nextCursor: hasMore ? cursorOf(last) : null };
}

/** The envelope of a list; the caller's capabilities are added to every answer. */
export function pageAnswer<Item extends z.ZodType>(item: Item) {
  return z.strictObject({
    items: z.array(item),
    nextCursor: z.string().nullable().meta({ description: "Null on the last page." }),
  });
}

function encode(text: string): string {
  return Buffer.from(text).toString("base64url");
}

function decode(cursor: string): string {
  return Buffer.from(cursor, "base64url").toString("utf8");
}

function malformedCursor(): InvalidFieldsError {
  return new InvalidFieldsError([{ field: "cursor", reason: "is not a cursor of this list" }]);
}
