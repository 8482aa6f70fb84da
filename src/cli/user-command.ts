import { parseArgs } from "node:util";
import { changeByInstallation } from "../audit/audit-event.ts";
import { systemClock } from "../clock.ts";
import { readDatabaseUrl } from "../config.ts";
import type { Sql } from "../database/client.ts";
import { connectEitherWay } from "../database/pooler.ts";
import { requireCurrentSchema } from "../database/schema-check.ts";
import { inTransaction } from "../database/transaction.ts";
import { userFindByEmail } from "../identity/queries.ts";
import { hashNewPassword, resetPassword } from "../identity/user.ts";
import { type Command, type ExitCode, UsageError } from "./command.ts";
import { readEmail } from "./identity-arguments.ts";
import { readPassword } from "./read-password.ts";

export const userCommand: Command = {
  name: "user",
  summary: "give a person another password (user reset-password)",
  help: `usage: spendra user reset-password --email EMAIL [--password-file FILE] [--json]

For who has forgotten it, or when nobody can sign in any more. The password is the first line
of FILE or of standard input, or is asked for at a terminal; at least 12 characters. All
sessions of the person end, and each of their organizations gets an audit row. Needs
DATABASE_URL. A person whose e-mail is throttled after failures waits 15 minutes all the same.

  --email EMAIL         of the person
  --password-file FILE  where the new password is
  --json                one JSON line: {"userId", "organizations"}

Exit codes: 0 done, 1 there is no such person.`,
  run: async (args) => {
    const [action, ...rest] = args;
    if (action !== "reset-password") {
      const reason = action === undefined ? "say what to do: reset-password" : `unknown: ${action}`;
      throw new UsageError(reason);
    }
    const options = readOptions(rest);
    const sql = await connectEitherWay(readDatabaseUrl().reveal(), {
      connectionsMax: 1,
      applicationName: "spendra user reset-password",
    });
    try {
      await requireCurrentSchema(sql);
      return await reset(sql, options);
    } finally {
      await sql.end();
    }
  },
};

type Options = { email: string; passwordFile: string | null; asJson: boolean };

async function reset(sql: Sql, { email, passwordFile, asJson }: Options): Promise<ExitCode> {
  const person = await userFindByEmail(sql, email);
  if (person === null) {
    console.error(`spendra user: there is no person ${email}`);
    return 1;
  }
  const passwordHash = await hashNewPassword(await readPassword(passwordFile));
  const change = changeByInstallation(systemClock.now());
  const organizations = await inTransaction(sql, async (transaction) =>
    resetPassword(transaction, { id: person.id, passwordHash }, change),
  );
  console.log(
    asJson
      ? JSON.stringify({ userId: person.id, organizations })
      : `${email} has the new password; their sessions are over`,
  );
  return 0;
}

function readOptions(args: readonly string[]): Options {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        email: { type: "string" },
        "password-file": { type: "string" },
        json: { type: "boolean" },
      },
      strict: true,
    });
    return {
      email: readEmail("--email", values.email),
      passwordFile: values["password-file"] ?? null,
      asJson: values.json === true,
    };
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : "the arguments are wrong");
  }
}
