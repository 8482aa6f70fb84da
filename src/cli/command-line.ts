/** `spendra <command> [flags]`: finds the command, prints help, turns errors into exit codes. */
import { ConfigurationError } from "../config.ts";
import { MigrationError } from "../database/migrator.ts";
import { errorCodeOf } from "../database/sqlstate.ts";
import { maskSecrets } from "../log.ts";
import { auditCommand } from "./audit-command.ts";
import { type Command, type ExitCode, UsageError } from "./command.ts";
import { explainDatabaseError } from "./database-problem.ts";
import { demo } from "./demo.ts";
import { doctor } from "./doctor.ts";
import { ledger } from "./ledger.ts";
import { migrateCommand } from "./migrate.ts";
import { organizationCommand } from "./organization-command.ts";
import { seed } from "./seed.ts";
import { serve } from "./serve.ts";
import { settleCommand } from "./settle-command.ts";
import { userCommand } from "./user-command.ts";
import { version } from "./version.ts";

const commands: readonly Command[] = [
  serve,
  migrateCommand,
  demo,
  doctor,
  organizationCommand,
  userCommand,
  ledger,
  auditCommand,
  settleCommand,
  seed,
  version,
];

/** Runs one command and answers its exit code. Prints to standard output and error. */
export async function runCommandLine(args: readonly string[]): Promise<ExitCode> {
  const [name, ...rest] = args;
  if (name === "help" && rest.length > 0) {
    return await runCommandLine([...rest, "--help"]);
  }
  if (name === undefined || name === "--help" || name === "-h" || name === "help") {
    console.log(overview());
    return name === undefined ? 2 : 0;
  }
  const command = commands.find(
    (candidate) => candidate.name === name.replace(/^--(?=version$)/, ""),
  );
  if (command === undefined) {
    console.error(`spendra: there is no command "${name}"\n\n${overview()}`);
    return 2;
  }
  if (rest.includes("--help") || rest.includes("-h")) {
    console.log(command.help);
    return 0;
  }
  try {
    return await command.run(rest);
  } catch (error) {
    console.error(`spendra ${command.name}: ${explain(error)}`);
    return error instanceof UsageError ? 2 : 1;
  }
}

function overview(): string {
  const width = Math.max(...commands.map((command) => command.name.length));
  const lines = commands.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`);
  return [
    "Spendra: every paid model call is reserved, settled and booked before it is delivered.",
    "",
    "usage: spendra <command> [flags]",
    "",
    ...lines,
    "",
    "`spendra <command> --help` explains a command.",
    "Exit codes: 0 good, 1 the answer is no, 2 wrong usage.",
  ].join("\n");
}

function explain(error: unknown): string {
  if (error instanceof UsageError) {
    return `${error.message}\nSee --help.`;
  }
  if (error instanceof ConfigurationError || error instanceof MigrationError) {
    return error.message;
  }
  if (errorCodeOf(error) === "EADDRINUSE") {
    return (
      "an address is taken by another program: stop that one, or set SPENDRA_LISTEN or " +
      "SPENDRA_METRICS_LISTEN. `spendra doctor` says which."
    );
  }
  const database = explainDatabaseError(error);
  if (database !== null) {
    return (
      `PostgreSQL: ${database.problem}\n` +
      `${database.mending} \`spendra doctor\` looks at the rest.`
    );
  }
  return maskSecrets(error instanceof Error ? error.message : String(error));
}
