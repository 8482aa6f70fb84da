import { parseArgs } from "node:util";
import { EXPORT_FORMATS, type ExportFormat } from "../audit/export-events.ts";
import { systemClock } from "../clock.ts";
import { readDatabaseUrl } from "../config.ts";
import type { Sql } from "../database/client.ts";
import { connectEitherWay } from "../database/pooler.ts";
import { requireCurrentSchema } from "../database/schema-check.ts";
import { organizationExists } from "../ledger/proof-queries.ts";
import { exportAuditLog } from "./audit-export-file.ts";
import { reportAuditVerdict } from "./audit-report.ts";
import { type Command, type ExitCode, UsageError } from "./command.ts";

export const auditCommand: Command = {
  name: "audit",
  summary: "prove or export the audit log (audit verify, audit export)",
  help: `usage: spendra audit verify [--organization ID] [--json]
       spendra audit export --format jsonl|csv --output FILE [--organization ID]
                            [--from TIME] [--to TIME]

verify proves, on one snapshot and without changing anything, the hash chain over the audit
log, and prints each event that was changed, removed or inserted. export writes the events into
a new file that only you can read, oldest first, one organization after the other. Both need
DATABASE_URL.

  --organization ID  of this organization only
  --json             one JSON line: {"isClean": true | false, "differences": [...], ...}
  --format           one JSON object a line, or CSV with a heading
  --output FILE      must not exist yet; - is standard output
  --from, --to TIME  events from this instant on, and before that one: 2026-11-21T00:00:00Z

Exit codes: 0 good, 1 something differs, the file cannot be written or the database does not
answer.`,
  run: async (args) => {
    const [action, ...rest] = args;
    const run = actionOf(action, rest);
    const sql = await connectEitherWay(readDatabaseUrl().reveal(), {
      connectionsMax: 1,
      applicationName: `spendra audit ${action}`,
    });
    try {
      await requireCurrentSchema(sql);
      return await run(sql);
    } finally {
      await sql.end();
    }
  },
};

function actionOf(
  action: string | undefined,
  args: readonly string[],
): (sql: Sql) => Promise<ExitCode> {
  if (action === "verify") {
    const { organizationId, asJson } = readVerifyOptions(args);
    return async (sql) => {
      await requireOrganization(sql, organizationId);
      return await reportAuditVerdict(sql, organizationId, asJson);
    };
  }
  if (action === "export") {
    const options = readExportOptions(args);
    return async (sql) => {
      await requireOrganization(sql, options.organizationId);
      return await exportAuditLog(sql, options);
    };
  }
  throw new UsageError(
    action === undefined ? "say what to do: verify or export" : `unknown: ${action}`,
  );
}

async function requireOrganization(sql: Sql, id: string | null): Promise<void> {
  if (id !== null && !(await organizationExists(sql, id))) {
    throw new UsageError(`there is no organization ${id}`);
  }
}

function readVerifyOptions(args: readonly string[]) {
  const values = parse(args, {
    json: { type: "boolean" },
    organization: { type: "string" },
  } as const);
  return { organizationId: values.organization ?? null, asJson: values.json === true };
}

function readExportOptions(args: readonly string[]) {
  const values = parse(args, {
    format: { type: "string" },
    output: { type: "string" },
    organization: { type: "string" },
    from: { type: "string" },
    to: { type: "string" },
  } as const);
  if (values.output === undefined || values.output === "") {
    throw new UsageError("--output FILE is missing");
  }
  const from = readTime("--from", values.from);
  // What happens while it is read may or may not be in it; so it ends now.
  const to = readTime("--to", values.to) ?? systemClock.now();
  if (from !== null && from >= to) {
    throw new UsageError("--to must be after --from");
  }
  return {
    organizationId: values.organization ?? null,
    format: readFormat(values.format),
    output: values.output,
    from,
    to,
  };
}

function readFormat(text: string | undefined): ExportFormat {
  const format = EXPORT_FORMATS.find((candidate) => candidate === text);
  if (format === undefined) {
    throw new UsageError("--format must be jsonl or csv");
  }
  return format;
}

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)$/;

function readTime(flag: string, text: string | undefined): Date | null {
  if (text === undefined) {
    return null;
  }
  const time = new Date(text);
  if (!TIME.test(text) || Number.isNaN(time.getTime())) {
    throw new UsageError(`${flag} must be a time with its zone, such as 2026-11-21T00:00:00Z`);
  }
  return time;
}

function parse<Options extends Record<string, { type: "boolean" | "string" }>>(
  args: readonly string[],
  options: Options,
) {
  try {
    return parseArgs({ args: [...args], options, strict: true }).values;
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : "the arguments are wrong");
  }
}
