/**
 * Finds the top-level members of a JSON object in its text, so that a field can be put in or
 * changed without writing the rest anew: what the caller sent stays as it was, byte for byte
 * (prompt caches and signatures go by bytes). Only for text that `JSON.parse` has accepted.
 */

/** A member's value is `text.slice(valueStart, valueEnd)`. */
export type JsonMember = {
  readonly name: string;
  readonly valueStart: number;
  readonly valueEnd: number;
};

/** Members in their order, duplicates included. `objectStart` is the index of the `{`. */
export function membersOf(text: string, objectStart = text.indexOf("{")): readonly JsonMember[] {
  const members: JsonMember[] = [];
  let index = skipBlanks(text, objectStart + 1);
  while (text[index] === '"') {
    const nameEnd = endOfString(text, index);
    const name = String(JSON.parse(text.slice(index, nameEnd)));
    const valueStart = skipBlanks(text, skipBlanks(text, nameEnd) + 1);
    const valueEnd = endOfValue(text, valueStart);
    members.push({ name, valueStart, valueEnd });
    index = skipBlanks(text, valueEnd);
    if (text[index] === ",") {
      index = skipBlanks(text, index + 1);
    }
  }
  return members;
}

/** Puts a member in front of all others of the object at `objectStart`. */
export function insertMember(
  text: string,
  name: string,
  valueJson: string,
  objectStart = text.indexOf("{"),
): string {
  const isEmpty = text[skipBlanks(text, objectStart + 1)] === "}";
  const member = `${JSON.stringify(name)}:${valueJson}${isEmpty ? "" : ","}`;
  return text.slice(0, objectStart + 1) + member + text.slice(objectStart + 1);
}

/** Replaces the value of a member. */
export function replaceValue(text: string, member: JsonMember, valueJson: string): string {
  return text.slice(0, member.valueStart) + valueJson + text.slice(member.valueEnd);
}

function skipBlanks(text: string, from: number): number {
  let index = from;
  while (" \t\n\r".includes(text.charAt(index)) && index < text.length) {
    index++;
  }
  return index;
}

/** `from` is the index of the opening quote; answers the index behind the closing one. */
function endOfString(text: string, from: number): number {
  let end = text.indexOf('"', from + 1);
  while (isEscaped(text, end)) {
    end = text.indexOf('"', end + 1);
  }
  return end + 1;
}

function isEscaped(text: string, index: number): boolean {
  let backslashes = 0;
  while (text[index - 1 - backslashes] === "\\") {
    backslashes++;
  }
  return backslashes % 2 === 1;
}

function endOfValue(text: string, from: number): number {
  const first = text[from];
  if (first === '"') {
    return endOfString(text, from);
  }
  if (first !== "{" && first !== "[") {
    let index = from;
    while (index < text.length && !",]} \t\n\r".includes(text.charAt(index))) {
      index++;
    }
    return index;
  }
  let depth = 0;
  let index = from;
  do {
    const character = text[index];
    if (character === '"') {
      index = endOfString(text, index);
      continue;
    }
    if (character === "{" || character === "[") {
      depth++;
    } else if (character === "}" || character === "]") {
      depth--;
    }
    index++;
  } while (depth > 0);
  return index;
}
