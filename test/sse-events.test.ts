/** An event stream cut into its events, however it arrives, without changing a byte. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { dataOf, EventSplitter } from "../src/gateway/sse-events.ts";

const EVENT_BYTES_MAX = 16 * 1024 * 1024;

/** Splits the bytes at these places and gives the pieces to a splitter, one after the other. */
function split(
  bytes: Uint8Array,
  cuts: readonly number[] = [],
): { events: string[]; rest: string } {
  const splitter = new EventSplitter();
  const places = [0, ...cuts.toSorted((left, right) => left - right), bytes.length];
  const events = places
    .slice(1)
    .flatMap((end, index) => splitter.push(bytes.subarray(places[index], end)));
  return { events: events.map(latin1), rest: latin1(splitter.end()) };
}

/** Every byte as a character, so that nothing is lost in a comparison. */
function latin1(bytes: Buffer): string {
  return bytes.toString("latin1");
}

function everyByte(bytes: Uint8Array): number[] {
  return Array.from(bytes.keys());
}

describe("a stream", () => {
  test.each<[string, string, string[], string]>([
    ["nothing", "", [], ""],
    ["no end", "data: a", [], "data: a"],
    ["no empty line at its end", "data: a\n", [], "data: a\n"],
    ["line feeds", "data: a\n\ndata: b\n\n", ["data: a\n\n", "data: b\n\n"], ""],
    ["CR LF", "data: a\r\n\r\ndata: b\r\n\r\nx", ["data: a\r\n\r\n", "data: b\r\n\r\n"], "x"],
    ["CR", "data: a\r\rdata: b\r\rx", ["data: a\r\r", "data: b\r\r"], "x"],
    ["LF, then CR LF", "data: a\n\r\ndata: b\r\n\nx", ["data: a\n\r\n", "data: b\r\n\n"], "x"],
    ["CR, then LF: one line's end", "data: a\r\ndata: b\n\n", ["data: a\r\ndata: b\n\n"], ""],
    ["LF, then CR: two", "data: a\n\rdata: b\n\n", ["data: a\n\r", "data: b\n\n"], ""],
    ["CR, CR LF", "data: a\r\r\nx", ["data: a\r\r\n"], "x"],
    ["a last CR, which an LF may follow", "data: a\r\n\r", [], "data: a\r\n\r"],
    ["empty lines", "\n\n\r\nx", ["\n", "\n", "\r\n"], "x"],
    ["comments", ": ping\n\n: pong\n\n", [": ping\n\n", ": pong\n\n"], ""],
    [
      "several lines",
      "event: x\nid: 1\ndata: a\ndata: b\n\n",
      ["event: x\nid: 1\ndata: a\ndata: b\n\n"],
      "",
    ],
    ["a byte order mark", "\xef\xbb\xbfdata: a\n\n", ["\xef\xbb\xbfdata: a\n\n"], ""],
    ["NUL and broken UTF-8", "data: \0\xff\xfe\n\nx", ["data: \0\xff\xfe\n\n"], "x"],
  ])("with %s is cut at its empty lines, whole or byte by byte", (_, text, events, rest) => {
    const bytes = Buffer.from(text, "latin1");
    expect(split(bytes)).toEqual({ events, rest });
    expect(split(bytes, everyByte(bytes))).toEqual({ events, rest });
    expect(
      split(
        bytes,
        everyByte(bytes).flatMap((place) => [place, place]),
      ),
    ).toEqual({
      events,
      rest,
    });
  });

  const pieces = fc.constantFrom("\n", "\r", "\r\n", "\n\n", "data: ", "x", ":", "\xff", "\0", "");
  const streams = fc.oneof(
    fc.array(pieces, { maxLength: 40 }).map((list) => Buffer.from(list.join(""), "latin1")),
    fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
  );

  test("joins back to the same bytes and is cut at the same places in any chunks", () => {
    fc.assert(
      fc.property(streams, fc.array(fc.nat(), { maxLength: 30 }), (bytes, places) => {
        const cuts = places.map((place) => place % (bytes.length + 1));
        const whole = split(bytes);
        expect(whole.events.join("") + whole.rest).toBe(latin1(bytes));
        expect(split(bytes, cuts)).toEqual(whole);
      }),
      { numRuns: 2_000 },
    );
  });

  test("is cut as a second, slower reading of the standard cuts it", () => {
    fc.assert(
      fc.property(streams, (bytes) => {
        const text = latin1(bytes);
        const { events } = split(bytes);
        const complete = text.match(/(?:[^\r\n]+(?:\r\n|\n|\r(?!\n)))*(?:\r\n|\n|\r(?!\n|$))/gy);
        expect(events).toEqual([...(complete ?? [])]);
      }),
      { numRuns: 2_000 },
    );
  });

  test("may reuse the memory of its chunks", () => {
    const splitter = new EventSplitter();
    const chunk = Buffer.from("data: first");
    expect(splitter.push(chunk)).toEqual([]);
    chunk.fill("x");
    expect(splitter.push(Buffer.from("\n\n")).map(latin1)).toEqual(["data: first\n\n"]);
  });

  test("with an event beyond every limit passes it on in parts, none of them lost", () => {
    const splitter = new EventSplitter();
    const chunk = Buffer.alloc(1024 * 1024, "x");
    let bytes = 0;
    for (let count = 0; count < 40; count++) {
      bytes += splitter.push(chunk).reduce((sum, event) => sum + event.length, 0);
      expect(splitter.end().length).toBeLessThanOrEqual(EVENT_BYTES_MAX);
    }
    expect(bytes + splitter.end().length).toBe(40 * chunk.length);
  });
});

describe("five megabytes", () => {
  const TIME_MAX_MS = 4_000;
  const oneEvent = Buffer.from(`data: ${"x".repeat(5_000_000)}\n\n`);
  const manyEvents = Buffer.from(`data: ${"x".repeat(190)}\n\n`.repeat(25_000));

  test.each([
    ["one event", "1-byte", oneEvent, 1],
    ["one event", "1 KB", oneEvent, 1024],
    ["one event", "64 KB", oneEvent, 65_536],
    ["many events", "1-byte", manyEvents, 1],
    ["many events", "1 KB", manyEvents, 1024],
    ["many events", "64 KB", manyEvents, 65_536],
  ])("of %s in %s chunks are cut in time", (_, __, bytes, chunkBytes) => {
    const splitter = new EventSplitter();
    const startedMs = performance.now();
    let eventBytes = 0;
    for (let start = 0; start < bytes.length; start += chunkBytes) {
      for (const event of splitter.push(bytes.subarray(start, start + chunkBytes))) {
        eventBytes += event.length;
      }
    }
    expect(performance.now() - startedMs).toBeLessThan(TIME_MAX_MS);
    expect(eventBytes).toBe(bytes.length);
  });
});

describe("the data of an event", () => {
  test.each<[string, string, string | null]>([
    ["a comment", ": data: a\n\n", null],
    ["no data", "event: x\n\n", null],
    ["a longer name", "database: a\n\n", null],
    ["a blank before", " data: a\n\n", null],
    ["nothing in it", "data:\n\n", ""],
    ["a blank, which is not part of it", "data: a\n\n", "a"],
    ["no blank", "data:a\n\n", "a"],
    ["two blanks, of which one is", "data:  a\n\n", " a"],
    ["CR LF", "data: a\r\n\r\n", "a"],
    ["CR", "event: x\rdata: a\r\r", "a"],
    ["several lines", 'data: {"a":\ndata: 1}\nid: 7\n\n', '{"a":\n1}'],
    ["a byte order mark before it", "\ufeffdata: a\n\n", "a"],
    ["letters of all kinds", "data: \u6f22\ud83d\ude00\n\n", "\u6f22\ud83d\ude00"],
    ["no empty line yet", "data: a", "a"],
  ])("with %s is read", (_, text, data) => {
    expect(dataOf(Buffer.from(text))).toBe(data);
  });
});
