import { systemClock } from "../clock.ts";
import { readDatabaseUrl } from "../config.ts";
import { migrate, planMigrations } from "../database/migrator.ts";
import { connectEitherWay } from "../database/pooler.ts";
import { readFlags } from "./arguments.ts";
import { type Command, type ExitCode, UsageError } from "./command.ts";

export const migrateCommand: Command = {
  name: "migrate",
  summary: "bring the database to this build's schema",
  help: `usage: spendra migrate [--plan | --verify] [--json]

Applies the migrations that are pending, each in its own transaction and only once, also
when several nodes start it together. Needs DATABASE_URL.

  --plan    say what would be applied, change nothing
  --verify  exit 0 when nothing is pending, 1 otherwise; change nothing
  --json    one JSON line: {"applied": [...], "pending": [...]}`,
  run: async (args) => {
    const flags = readFlags(args, ["plan", "verify", "json"]);
    if (flags.has("plan") && flags.has("verify")) {
      throw new UsageError("--plan and --verify exclude each other");
    }
    const sql = await connectEitherWay(readDatabaseUrl().reveal(), {
      connectionsMax: 1,
      applicationName: "spendra migrate",
    });
    try {
      const isReadOnly = flags.has("plan") || flags.has("verify");
      if (!isReadOnly) {
        const onApplied = flags.has("json") ? () => {} : reportApplied;
        await migrate(sql, { now: systemClock.now(), onApplied });
      }
      const plan = await planMigrations(sql);
      report(plan, flags.has("json"));
      return flags.has("verify") && plan.pending.length > 0 ? 1 : (0 satisfies ExitCode);
    } finally {
      await sql.end();
    }
  },
};

function reportApplied(name: string): void {
  console.log(`applied ${name}`);
}

function report(
  plan: { applied: readonly string[]; pending: readonly string[] },
  asJson: boolean,
): void {
  if (asJson) {
    console.log(JSON.stringify(plan));
    return;
  }
  for (const name of plan.pending) {
    console.log(`pending ${name}`);
  }
  console.log(
    plan.pending.length === 0
      ? `the database is at this build's schema (${plan.applied.length} migrations)`
      : `${plan.pending.length} migration(s) to apply: run \`spendra migrate\``,
  );
}
