import { parseArgs } from "node:util";
import { changeByInstallation } from "../audit/audit-event.ts";
import { systemClock } from "../clock.ts";
import { readConfig, readDatabaseUrl } from "../config.ts";
import type { Sql } from "../database/client.ts";
import { connectEitherWay } from "../database/pooler.ts";
import { requireCurrentSchema } from "../database/schema-check.ts";
import { inTransaction } from "../database/transaction.ts";
import { type Founded, foundOrganization } from "../identity/found-organization.ts";
import { userFindByEmail } from "../identity/queries.ts";
import { deriveSetupCode } from "../identity/setup-code.ts";
import { hashNewPassword } from "../identity/user.ts";
import { type Command, type ExitCode, UsageError } from "./command.ts";
import { readEmail, readName } from "./identity-arguments.ts";
import { readPassword } from "./read-password.ts";

export const organizationCommand: Command = {
  name: "organization",
  summary: "create an organization with its administrator",
  help: `usage: spendra organization create --name NAME --admin-email EMAIL
                                   [--admin-name NAME] [--password-file FILE]
                                   [--openai-account] [--json]
       spendra organization setup-code

create makes an organization and its org_admin. A person who has no login here yet gets one:
their password is the first line of FILE or of standard input, or is asked for at a terminal.
Whoever has a login keeps their password, and none is read. When EMAIL leads an organization
NAME already, nothing is changed and the answer is that one, so that it can be run again.
Needs DATABASE_URL.

setup-code prints what POST /management/onboarding asks for: the first organization can be
founded there too, while there is none. It is derived from SPENDRA_ENCRYPTION_KEY and the
same on every node. Needs the settings of \`spendra serve\`.

  --name NAME           of the organization
  --admin-email EMAIL   of its org_admin
  --admin-name NAME     what a new person is called; the e-mail by default
  --password-file FILE  where a new person's password is
  --openai-account      make the provider account openai, with OPENAI_API_KEY of the nodes
  --json                one JSON line: {"organizationId", "userId", "isNew"}`,
  run: async (args) => {
    const [action, ...rest] = args;
    if (action === "setup-code") {
      return printSetupCode(rest);
    }
    if (action !== "create") {
      throw new UsageError(action === undefined ? "say what to do: create" : `unknown: ${action}`);
    }
    return await create(readOptions(rest));
  },
};

type Options = {
  name: string;
  email: string;
  adminName: string;
  passwordFile: string | null;
  hasOpenAiAccount: boolean;
  asJson: boolean;
};

async function create(options: Options): Promise<ExitCode> {
  const sql = await connectEitherWay(readDatabaseUrl().reveal(), {
    connectionsMax: 1,
    applicationName: "spendra organization create",
  });
  try {
    await requireCurrentSchema(sql);
    report(options, await found(sql, options));
    return 0;
  } finally {
    await sql.end();
  }
}

async function found(sql: Sql, options: Options): Promise<Founded> {
  const { name, email, adminName, hasOpenAiAccount } = options;
  const isKnown = (await userFindByEmail(sql, email)) !== null;
  // Hashed before the transaction, which would hold its lock for that long.
  const passwordHash = isKnown
    ? null
    : await hashNewPassword(await readPassword(options.passwordFile));
  const admin = { email, name: adminName, passwordHash };
  const change = changeByInstallation(systemClock.now());
  return await inTransaction(sql, async (transaction) =>
    foundOrganization(transaction, { name, admin, hasOpenAiAccount }, change),
  );
}

function report({ name, email, asJson }: Options, founded: Founded): void {
  const { organizationId } = founded;
  console.log(
    asJson
      ? JSON.stringify(founded)
      : founded.isNew
        ? `created the organization ${name} (${organizationId}); ${email} is its org_admin`
        : `the organization ${name} (${organizationId}) is there already, led by ${email}`,
  );
}

function printSetupCode(args: readonly string[]): ExitCode {
  if (args.length > 0) {
    throw new UsageError("setup-code takes no flags");
  }
  console.log(deriveSetupCode(readConfig().encryptionKey));
  return 0;
}

function readOptions(args: readonly string[]): Options {
  const values = parse(args);
  const email = readEmail("--admin-email", values["admin-email"]);
  return {
    name: readName("--name", values.name),
    email,
    adminName: readName("--admin-name", values["admin-name"] ?? email),
    passwordFile: values["password-file"] ?? null,
    hasOpenAiAccount: values["openai-account"] === true,
    asJson: values.json === true,
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        name: { type: "string" },
        "admin-email": { type: "string" },
        "admin-name": { type: "string" },
        "password-file": { type: "string" },
        "openai-account": { type: "boolean" },
        json: { type: "boolean" },
      },
      strict: true,
    }).values;
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : "the arguments are wrong");
  }
}
