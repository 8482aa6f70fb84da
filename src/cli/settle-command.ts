import { parseArgs } from "node:util";
import { readConfig } from "../config.ts";
import type { DeadLetter } from "../reservations/dead-letters.ts";
import type { ReplayReport, RetryOutcome, Settlements } from "../reservations/settlements.ts";
import { type Command, type ExitCode, UsageError } from "./command.ts";
import { withSettlements } from "./settlement-desk.ts";

/** Each waits 8 s at most. */
const REPLAY_ROUNDS_MAX = 8;
const LINES_MAX = 1_000;
const REASON_CHARACTERS_MAX = 500;

export const settleCommand: Command = {
  name: "settle",
  summary: "book what waits on this machine's disk (settle replay, settle dead-letters)",
  help: `usage: spendra settle replay [--json]
       spendra settle dead-letters [list | show ID | retry ID] [--json]
       spendra settle dead-letters discard ID --reason TEXT [--json]

Looks after the settlements in SPENDRA_STATE_DIR. Run it on the node's machine, as its user
and with its settings. While the node runs, the node is asked; while it does not, the command
does the work itself and keeps the node from starting meanwhile. Nothing is booked twice,
however often it is run.

  replay             book now what waits for the database, and say what became of it
  dead-letters list  what the database refused for good, and why
  dead-letters show  one of them, with all that would be booked
  dead-letters retry have one booked after its cause was mended; that is written to the
                     audit log, and only then the letter is closed
  dead-letters discard
                     close one that can never be booked; the reason goes to the audit log
  --json             one JSON line

Exit codes: 0 done, 1 something is left, refused or out of reach.`,
  run: async (args) => {
    const { words, reason, asJson } = readArguments(args);
    const action = actionOf(words, reason);
    return await withSettlements(
      readConfig(),
      async (settlements) => await action(settlements, asJson),
    );
  },
};

type Action = (settlements: Settlements, asJson: boolean) => Promise<ExitCode>;

type Arguments = { words: readonly string[]; reason: string | null; asJson: boolean };

function readArguments(args: readonly string[]): Arguments {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      options: { json: { type: "boolean" }, reason: { type: "string" } },
      allowPositionals: true,
      strict: true,
    });
    const reason = values.reason?.trim() ?? null;
    return { words: positionals, reason, asJson: values.json === true };
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : "the arguments are wrong");
  }
}

function actionOf(words: readonly string[], reason: string | null): Action {
  if (words[1] === "discard" && words.length === 3) {
    return discardOf(words[2] ?? "", reason);
  }
  if (reason !== null) {
    throw new UsageError("--reason is only for settle dead-letters discard");
  }
  const [subject, verb = "list", id, ...more] = words;
  if (subject === "replay" && words.length === 1) {
    return replay;
  }
  if (subject === "dead-letters" && more.length === 0) {
    if (verb === "list" && id === undefined) {
      return list;
    }
    if (verb === "show" && id !== undefined) {
      return (settlements, asJson) => show(settlements, id, asJson);
    }
    if (verb === "retry" && id !== undefined) {
      return (settlements, asJson) => retry(settlements, id, asJson);
    }
  }
  throw new UsageError(
    words.length === 0 ? "say what to do: replay or dead-letters" : `unknown: ${words.join(" ")}`,
  );
}

async function replay(settlements: Settlements, asJson: boolean): Promise<ExitCode> {
  let report = await settlements.replay();
  for (let round = 1; round < REPLAY_ROUNDS_MAX && report.leftCount > 0; round++) {
    report = join(report, await settlements.replay());
  }
  const { bookedCount, alreadyBookedCount, deadLetteredCount, leftCount } = report;
  console.log(
    asJson
      ? JSON.stringify(report)
      : `${bookedCount} booked, ${alreadyBookedCount} already booked, ` +
          `${deadLetteredCount} refused for good, ${leftCount} left`,
  );
  return deadLetteredCount + leftCount === 0 ? 0 : 1;
}

/** What was left of the first is in the second. */
function join(first: ReplayReport, second: ReplayReport): ReplayReport {
  return {
    ...second,
    bookedCount: first.bookedCount + second.bookedCount,
    alreadyBookedCount: first.alreadyBookedCount + second.alreadyBookedCount,
    deadLetteredCount: first.deadLetteredCount + second.deadLetteredCount,
  };
}

async function list(settlements: Settlements, asJson: boolean): Promise<ExitCode> {
  const letters = await settlements.deadLetters();
  if (asJson) {
    // What would be booked is shown one by one.
    const deadLetters = letters.map((letter) => ({ ...letter, record: undefined }));
    console.log(JSON.stringify({ deadLetters }));
    return 0;
  }
  for (const letter of letters.slice(0, LINES_MAX)) {
    console.log(lineOf(letter));
  }
  console.log(`${letters.length} dead letter(s)`);
  return 0;
}

async function show(settlements: Settlements, id: string, asJson: boolean): Promise<ExitCode> {
  const letter = (await settlements.deadLetters()).find((candidate) => candidate.id === id);
  if (letter === undefined) {
    return notThere(id);
  }
  console.log(asJson ? JSON.stringify(letter) : JSON.stringify(letter, null, 2));
  return 0;
}

const retryWords: Readonly<Record<RetryOutcome, string>> = {
  booked: "booked; the letter is closed",
  already_booked: "its reservation had ended before; nothing was changed, the letter is closed",
  refused: "the database refused it again; the letter stays",
  unknown_reservation: "the database has no such reservation; the letter stays",
  released_before: "its reservation ended as having bought nothing; the letter stays",
  waiting: "the database did not answer in time; the letter stays: try again",
};

async function retry(settlements: Settlements, id: string, asJson: boolean): Promise<ExitCode> {
  const outcome = await settlements.retry(id);
  if (outcome === null) {
    return notThere(id);
  }
  console.log(asJson ? JSON.stringify({ id, outcome }) : `${id}: ${retryWords[outcome]}`);
  return outcome === "booked" || outcome === "already_booked" ? 0 : 1;
}

function discardOf(id: string, reason: string | null): Action {
  if (reason === null || reason.length === 0 || reason.length > REASON_CHARACTERS_MAX) {
    throw new UsageError(`say why with --reason, in 1 to ${REASON_CHARACTERS_MAX} characters`);
  }
  return async (settlements, asJson) => {
    if (!(await settlements.discard(id, reason))) {
      return notThere(id);
    }
    console.log(
      asJson ? JSON.stringify({ id, outcome: "discarded" }) : `${id}: closed, not booked`,
    );
    return 0;
  };
}

function notThere(id: string): ExitCode {
  console.error(`there is no open dead letter ${id}`);
  return 1;
}

function lineOf({ id, occurredAt, costUsd, reason }: DeadLetter): string {
  const cost = costUsd === null ? "no amount" : `$${costUsd}`;
  return `${id}  ${occurredAt}  ${cost}  ${reason.replaceAll(/\s+/g, " ")}`;
}
