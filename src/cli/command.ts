/** What a command of the command line is. One file each in this folder. */

/** 0 good, 1 the answer is no, 2 wrong usage. */
export type ExitCode = 0 | 1 | 2;

export type Command = {
  readonly name: string;
  /** One line for the list of commands. */
  readonly summary: string;
  /** The whole text of `spendra <name> --help`. */
  readonly help: string;
  /** Takes the arguments behind the name. Throws `UsageError` for wrong ones. */
  readonly run: (args: readonly string[]) => Promise<ExitCode>;
};

/** The command was called wrongly; the message says how. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}
