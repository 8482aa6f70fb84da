import { type Clock, systemClock } from "../clock.ts";
import { type Config, ConfigurationError, readConfig, readDatabaseUrl } from "../config.ts";
import { readFlags } from "./arguments.ts";
import type { Command } from "./command.ts";
import { nameDatabase } from "./database-problem.ts";
import { type Finding, type FindingStatus, ok, skip } from "./doctor-check.ts";
import { examineDatabase, skipDatabase } from "./doctor-database.ts";
import { examineHost } from "./doctor-host.ts";
import { callLoopbackDirectly } from "./loopback.ts";
import { type Style, styleFor } from "./terminal.ts";

export const doctor: Command = {
  name: "doctor",
  summary: "say what is wrong with this installation, and how to mend it",
  help: `usage: spendra doctor [--json]

Looks at the configuration, the database (reachable, directly or through a pooler, version,
rights, schema, encryption key, clock, round trip, durability), the provider secrets, the
state directory and the listeners. Changes nothing, prints no secret, and takes some
seconds at most.

Each line is ok, warn, fail, or skip (a failure above stands in its way). Exits with 0
when nothing failed, with 1 otherwise.

  --json  one JSON line: {"status": "ok" | "fail",
          "findings": [{"check", "status", "message", "mending"}]}`,
  run: async (args) => {
    const flags = readFlags(args, ["json"]);
    callLoopbackDirectly();
    const findings = await examine(systemClock);
    const hasFailed = findings.some(({ status }) => status === "fail");
    if (flags.has("json")) {
      console.log(JSON.stringify({ status: hasFailed ? "fail" : "ok", findings }));
    } else {
      console.log(describe(findings, styleFor(process.stdout)));
    }
    return hasFailed ? 1 : 0;
  },
};

async function examine(clock: Clock): Promise<readonly Finding[]> {
  const { config, findings } = examineConfiguration();
  const databaseUrl = config?.databaseUrl.reveal() ?? readDatabaseUrlAlone();
  const [database, host] = await Promise.all([
    databaseUrl === null ? noDatabase() : examineDatabase(databaseUrl, config, clock),
    examineHost(config),
  ]);
  return [...findings, ...database, ...host];
}

function examineConfiguration(): { config: Config | null; findings: readonly Finding[] } {
  const check = "configuration";
  try {
    const config = readConfig();
    const message = `complete; database ${nameDatabase(config.databaseUrl.reveal())}`;
    return { config, findings: [{ check, ...ok(message) }] };
  } catch (error) {
    if (!(error instanceof ConfigurationError)) {
      throw error;
    }
    const findings = error.mistakes.map((message) => ({ check, status: "fail" as const, message }));
    return { config: null, findings };
  }
}

/** A wrong configuration may still name the right database. */
function readDatabaseUrlAlone(): string | null {
  try {
    return readDatabaseUrl().reveal();
  } catch {
    // Its mistake is among those of the configuration.
    return null;
  }
}

function noDatabase(): readonly Finding[] {
  const reason = "DATABASE_URL is missing or wrong";
  return [{ check: "database", ...skip(`not looked at: ${reason}`) }, ...skipDatabase(reason)];
}

const STATUS_COLUMNS = 6;
const CHECK_COLUMNS = 18;

function describe(findings: readonly Finding[], style: Style): string {
  const count = (wanted: FindingStatus): number =>
    findings.filter(({ status }) => status === wanted).length;
  const indent = " ".repeat(STATUS_COLUMNS + CHECK_COLUMNS);
  const lines = findings
    .filter(({ status }) => status !== "skip")
    .flatMap(({ status, check, message, mending }) => {
      const word = paint(status, style);
      const line = `${word}${check.padEnd(CHECK_COLUMNS)}${message}`;
      return mending === undefined ? [line] : [line, `${indent}→ ${mending}`];
    });
  const failures = count("fail");
  const verdict =
    failures === 0
      ? `Nothing is wrong; ${count("warn")} warning(s).`
      : `${failures} thing(s) to mend, ${count("warn")} warning(s).`;
  return [...lines, ...describeSkipped(findings, style), "", style.bold(verdict)].join("\n");
}

/** One line a reason: a list of everything that hangs on it says no more. */
function describeSkipped(findings: readonly Finding[], style: Style): string[] {
  const checksByReason = new Map<string, string[]>();
  for (const { message, check } of findings.filter(({ status }) => status === "skip")) {
    checksByReason.set(message, [...(checksByReason.get(message) ?? []), check]);
  }
  return [...checksByReason].map(
    ([reason, checks]) => `${paint("skip", style)}${reason}\n      ${checks.join(", ")}`,
  );
}

function paint(status: FindingStatus, style: Style): string {
  const colour = { ok: style.green, warn: style.yellow, fail: style.red, skip: style.dim }[status];
  return colour(status.padEnd(STATUS_COLUMNS));
}
