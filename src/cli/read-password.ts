/**
 * Takes a password from a person or a script, never from the arguments, which every user of the
 * machine can read: from a file, from standard input, or from a terminal without showing it.
 */
import { readFileSync } from "node:fs";
import { stderr, stdin } from "node:process";
import { UsageError } from "./command.ts";

const INPUT_BYTES_MAX = 4_096;
const ENTER = new Set(["\r", "\n"]);
const INTERRUPT = "\u0003";
const ERASE = new Set(["\u007f", "\b"]);

/** The first line of the file, or of standard input; on a terminal it is asked for twice. */
export async function readPassword(file: string | null): Promise<string> {
  if (file !== null) {
    return firstLine(readFile(file));
  }
  if (!stdin.isTTY) {
    return firstLine(await readInput());
  }
  const password = await ask("Password: ");
  if ((await ask("Again: ")) !== password) {
    throw new UsageError("the two passwords differ");
  }
  return password;
}

function readFile(file: string): string {
  try {
    return readFileSync(file, "utf8").slice(0, INPUT_BYTES_MAX);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "unknown error";
    throw new UsageError(`--password-file names a file that cannot be read: ${code}`);
  }
}

async function readInput(): Promise<string> {
  let text = "";
  for await (const piece of stdin) {
    text += String(piece);
    if (text.length > INPUT_BYTES_MAX || text.includes("\n")) {
      break;
    }
  }
  return text;
}

function firstLine(text: string): string {
  const line = text.split(/\r?\n/, 1)[0] ?? "";
  if (line === "") {
    throw new UsageError("there is no password: give one on standard input or by --password-file");
  }
  return line;
}

/** One line from the terminal, without an echo. */
async function ask(question: string): Promise<string> {
  // First, so that nothing is shown of what is typed the moment the question appears.
  stdin.setRawMode(true);
  stderr.write(question);
  try {
    let answer = "";
    for await (const piece of stdin.iterator({ destroyOnReturn: false })) {
      for (const character of String(piece)) {
        if (ENTER.has(character)) {
          return answer;
        }
        if (character === INTERRUPT) {
          throw new UsageError("interrupted");
        }
        answer = ERASE.has(character) ? answer.slice(0, -1) : answer + character;
      }
    }
    return answer;
  } finally {
    stdin.setRawMode(false);
    stderr.write("\n");
  }
}
