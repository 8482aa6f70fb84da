/** Members of a JSON object found in its text, and the text changed nowhere else. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { insertMember, membersOf, replaceValue } from "../src/gateway/json-members.ts";

/** Names and texts that look like JSON, and every kind of character. */
const texts = fc.oneof(
  fc.string({ unit: "binary", maxLength: 8 }).map((text) => text.toWellFormed()),
  fc.constantFrom("", "a", '"', "\\", '\\"', "{", "}", "[", "]", ",", ":", '"}', '{"a":1}'),
  fc.constantFrom("\u0000", "\u2028", "\u007f", "\ud83d\ude00", "__proto__", "constructor"),
);
const scalars = fc.oneof(
  texts,
  fc.integer(),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.constantFrom(null, true, false),
);
const values = fc.oneof(
  { depthSize: "small" },
  scalars,
  fc.array(fc.oneof(scalars, fc.dictionary(texts, scalars, { maxKeys: 3 })), { maxLength: 4 }),
  fc.dictionary(texts, fc.oneof(scalars, fc.array(scalars, { maxLength: 3 })), { maxKeys: 4 }),
);
const entryLists = fc.uniqueArray(fc.tuple(texts, values), {
  selector: ([name]) => name,
  maxLength: 6,
});
const blanks = fc.string({ unit: fc.constantFrom(" ", "\t", "\n", "\r"), maxLength: 3 });

/** An object's text, written as oddly as JSON allows, with what it holds. */
const objects = fc
  .tuple(entryLists, fc.array(blanks, { minLength: 6, maxLength: 6 }), fc.boolean())
  .map(([entries, [b0 = "", b1 = "", b2 = "", b3 = "", b4 = "", b5 = ""], escapesAll]) => {
    const spell = (text: string) => (escapesAll ? escapeAll(text) : JSON.stringify(text));
    const members = entries.map(
      ([name, value]) => `${spell(name)}${b1}:${b2}${JSON.stringify(value, null, b3)}`,
    );
    return { entries, text: `${b0}{${b4}${members.join(`${b4},${b5}`)}${b5}}${b0}` };
  });

/** Every character as an escape: `a` becomes `\u0061`. */
function escapeAll(text: string): string {
  const units = Array.from({ length: text.length }, (_, index) => text.charCodeAt(index));
  return `"${units.map((unit) => `\\u${unit.toString(16).padStart(4, "0")}`).join("")}"`;
}

function entriesOf(text: string): [string, unknown][] {
  return membersOf(text).map(({ name, valueStart, valueEnd }) => [
    name,
    JSON.parse(text.slice(valueStart, valueEnd)),
  ]);
}

describe("membersOf", () => {
  test.each([
    ["{}", []],
    [" \t\r\n{ \n } \n", []],
    ['{"a":1}', [["a", 1]]],
    ['{"":null}', [["", null]]],
    [
      '{"a":-1.5e+3 ,"b":true}',
      [
        ["a", -1500],
        ["b", true],
      ],
    ],
    ['{"a":"}"}', [["a", "}"]]],
    ['{"a":"\\""}', [["a", '"']]],
    ['{"a":"\\\\"}', [["a", "\\"]]],
    [
      '{"a":"\\\\\\"","b":"\\\\\\\\"}',
      [
        ["a", '\\"'],
        ["b", "\\\\"],
      ],
    ],
    [
      '{"a":{"b":"]"},"c":["}",{"d":"\\"]"}]}',
      [
        ["a", { b: "]" }],
        ["c", ["}", { d: '"]' }]],
      ],
    ],
    ['{"max\\u005ftokens":1}', [["max_tokens", 1]]],
    [
      '{"a\\u0000":1,"a":2}',
      [
        ["a\0", 1],
        ["a", 2],
      ],
    ],
    [
      '{"__proto__":{"n":5},"constructor":2}',
      [
        ["__proto__", { n: 5 }],
        ["constructor", 2],
      ],
    ],
    // Both are found: what two of a name mean is for others to decide.
    [
      '{"a":1,"\\u0061":2}',
      [
        ["a", 1],
        ["a", 2],
      ],
    ],
  ] as const)("of %s finds %j", (text, entries) => {
    expect(entriesOf(text)).toEqual(entries.map(([name, value]) => [name, value]));
  });

  test("finds the keys and values that JSON.parse finds, in any object's text", () => {
    fc.assert(
      fc.property(objects, ({ text, entries }) => {
        expect(entriesOf(text)).toEqual(entries.map(([name, value]) => [name, plain(value)]));
        expect(Object.fromEntries(entriesOf(text))).toEqual(
          Object.fromEntries(entries.map(([name, value]) => [name, plain(value)])),
        );
      }),
      { numRuns: 500 },
    );
  });

  test("finds those of an object inside, when told where it begins", () => {
    const text = '{"a":{"x":1,"y":{"z":2}},"b":3}';
    expect(membersOf(text, text.indexOf('{"x"')).map(({ name }) => name)).toEqual(["x", "y"]);
  });
});

describe("a changed text", () => {
  test("with a member put in front differs in nothing else, byte for byte", () => {
    fc.assert(
      fc.property(objects, values, ({ text, entries }, value) => {
        const name = "put in by the test";
        const changed = insertMember(text, name, JSON.stringify(value));
        const inserted = `${JSON.stringify(name)}:${JSON.stringify(value)}`;
        expect(changed.replace(entries.length === 0 ? inserted : `${inserted},`, () => "")).toBe(
          text,
        );
        expect(JSON.parse(changed)).toEqual({ ...parsed(text), [name]: plain(value) });
        expect(entriesOf(changed)).toHaveLength(entries.length + 1);
      }),
      { numRuns: 500 },
    );
  });

  test("with a value replaced differs in nothing else, byte for byte", () => {
    fc.assert(
      fc.property(objects, values, fc.nat(), ({ text, entries }, value, choice) => {
        fc.pre(entries.length > 0);
        const members = membersOf(text);
        const member = members[choice % members.length];
        if (member === undefined) {
          throw new Error("there is a member for each entry");
        }
        const changed = replaceValue(text, member, JSON.stringify(value));
        expect(changed.startsWith(text.slice(0, member.valueStart))).toBe(true);
        expect(changed.endsWith(text.slice(member.valueEnd))).toBe(true);
        const expected = entriesOf(text).map(([name, old]) => [
          name,
          name === member.name ? plain(value) : old,
        ]);
        expect(entriesOf(changed) as unknown[]).toEqual(expected);
        expect(() => JSON.parse(changed) as unknown).not.toThrow();
      }),
      { numRuns: 500 },
    );
  });
});

describe("hostile text", () => {
  /** Far from quadratic: that would take minutes. Generous, for a machine under load. */
  const TIME_MAX_MS = 2_000;

  function elapsedMs(work: () => void): number {
    const startedMs = performance.now();
    work();
    return performance.now() - startedMs;
  }

  test.each([
    ["a hundred thousand arrays inside each other", `${"[".repeat(1e5)}${"]".repeat(1e5)}`],
    ["ten thousand objects inside each other", `${'{"a":'.repeat(1e4)}1${"}".repeat(1e4)}`],
    ["ten million characters of one string", `"${"x".repeat(1e7)}"`],
    ["five million escaped backslashes", `"${"\\\\".repeat(5e6)}"`],
    ["three million escaped quotes", `"${'\\"'.repeat(3e6)}"`],
    ["a million short strings", `[${'"",'.repeat(1e6)}1]`],
    ["ten million blanks", `${" ".repeat(1e7)}1`],
    ["ten megabytes of emoji", `"${"\ud83d\ude00".repeat(2.5e6)}"`],
  ])("of %s is read in time", (_, valueJson) => {
    const text = `{"a":${valueJson},"b":2}`;
    let names: string[] = [];
    expect(
      elapsedMs(() => {
        names = membersOf(text).map(({ name }) => name);
      }),
    ).toBeLessThan(TIME_MAX_MS);
    expect(names).toEqual(["a", "b"]);
  });

  test("of two hundred thousand members is read in time", () => {
    const members = Array.from({ length: 2e5 }, (_, index) => `"m${index}":"${index}"`);
    const text = `{${members.join(",")}}`;
    expect(elapsedMs(() => expect(membersOf(text)).toHaveLength(2e5))).toBeLessThan(TIME_MAX_MS);
  });
});

function parsed(text: string): Record<string, unknown> {
  return JSON.parse(text) as Record<string, unknown>;
}

/** As JSON carries it: minus zero becomes zero. */
function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}
