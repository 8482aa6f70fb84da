/** What `bun run bench` is asked for, and about how long each part takes with it. */
import { parseArgs } from "node:util";

export const PARTS = ["reservations", "replay", "calls", "streams", "aborts", "ledger"] as const;
export type PartName = (typeof PARTS)[number];

const PEERS = ["none", "here", "all"] as const;

export type Options = {
  parts: readonly PartName[];
  isQuick: boolean;
  isSource: boolean;
  peers: (typeof PEERS)[number];
  /** Settled calls in the long ledger. */
  rows: number;
  /** How long callers abort. */
  abortsMs: number;
  json: string | undefined;
  isWriting: boolean;
};

export const HELP = `usage: bun run bench [--quick] [--only ${PARTS.join("|")}]
  [--peers ${PEERS.join("|")}] [--rows N] [--minutes N] [--source] [--json FILE] [--write]

  --quick    about three and a half minutes: shorter, fewer streams, one round
  --only     one part
  --peers    here: nginx and Portkey's gateway where they can be had (the default);
             all: LiteLLM too, which takes minutes to install the first time; none
  --rows     settled calls in the long ledger (1000000; with --quick 100000): a million takes about
             a minute to fill, and 2.5 GB; refused when the disk has not the room
  --minutes  how long callers abort their streams (1; with --quick a sixth)
  --source   measures src/main.ts even when dist/spendra was built
  --json     writes every number to a file
  --write    puts the tables between the marks of docs/benchmarks.md, and draws its plot`;

/** Settled calls that are filled and sealed in a second, on a slow machine. */
const FILLED_PER_SECOND = 20_000;
const ROWS = 1_000_000;
const ROWS_MAX = 1_000_000_000;
const MINUTES_MAX = 24 * 60;

/** Throws with a sentence for the caller when something is wrong. */
export function readOptions(args: string[]): Options | "help" {
  const { values: flags } = parseArgs({
    args,
    options: {
      quick: { type: "boolean", default: false },
      only: { type: "string" },
      peers: { type: "string", default: "here" },
      rows: { type: "string" },
      minutes: { type: "string" },
      source: { type: "boolean", default: false },
      json: { type: "string" },
      write: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  const { quick } = flags;
  const minutes = readNumber("--minutes", flags.minutes, quick ? 1 / 6 : 1, MINUTES_MAX);
  const parts = PARTS.filter((part) => part === (flags.only ?? part));
  const peers = PEERS.find((choice) => choice === flags.peers);
  if (parts.length === 0 || peers === undefined) {
    throw new Error(parts.length === 0 ? "there is no such part" : "--peers: none, here or all");
  }
  return flags.help
    ? "help"
    : {
        parts,
        isQuick: quick,
        isSource: flags.source,
        peers,
        rows: readNumber("--rows", flags.rows, quick ? ROWS / 10 : ROWS, ROWS_MAX),
        abortsMs: minutes * 60_000,
        json: flags.json,
        isWriting: flags.write,
      };
}

/** For the time left in the lines of progress; measured on two processors. */
export function expectedSeconds(part: PartName, options: Options): number {
  const { isQuick, peers } = options;
  const servers = { none: 3, here: 5, all: 6 }[peers];
  switch (part) {
    case "reservations":
      return isQuick ? 19 : 33;
    case "replay":
      return isQuick ? 6 : 16;
    case "calls":
      // The last is the time in which pip installs LiteLLM.
      return 20 + servers * (isQuick ? 12 : 40) + (peers === "all" ? 80 : 0);
    case "streams":
      return isQuick ? 34 : 55;
    case "aborts":
      return 30 + options.abortsMs / 1000;
    case "ledger":
      return (isQuick ? 25 : 60) + options.rows / FILLED_PER_SECOND;
  }
}

function readNumber(name: string, text: string | undefined, usual: number, max: number): number {
  const value = text === undefined ? usual : Number(text);
  if (!(value > 0 && value <= max)) {
    throw new Error(`${name} is a number above 0, at most ${max}`);
  }
  return value;
}
