import { parseArgs } from "node:util";
import { type Clock, systemClock } from "../clock.ts";
import { readDatabaseUrl } from "../config.ts";
import type { Sql } from "../database/client.ts";
import { connectEitherWay } from "../database/pooler.ts";
import { requireCurrentSchema } from "../database/schema-check.ts";
import { organizationExists } from "../ledger/proof-queries.ts";
import { type Verdict, type VerifyProgress, verifyLedger } from "../ledger/verify.ts";
import { formatUsd } from "../money.ts";
import { type Command, type ExitCode, UsageError } from "./command.ts";

const PROGRESS_EVERY_MS = 5_000;
const LINES_MAX = 100;

export const ledger: Command = {
  name: "ledger",
  summary: "prove that the books are right (ledger verify)",
  help: `usage: spendra ledger verify [--organization ID] [--json]

Proves, on one snapshot and without changing anything: the hash chain over the ledger's
entries; the counters of every budget window; daily usage; that each reservation is booked
exactly once; that debits equal credits. Prints what differs. Needs DATABASE_URL.

  --organization ID  prove this organization's books only
  --json             one JSON line: {"isClean": true | false, "differences": [...], ...}

Exit codes: 0 everything agrees, 1 something differs or the database does not answer.`,
  run: async (args) => {
    const options = readOptions(args);
    const sql = await connectEitherWay(readDatabaseUrl().reveal(), {
      connectionsMax: 1,
      applicationName: "spendra ledger verify",
    });
    try {
      await requireCurrentSchema(sql);
      return await verify(sql, options, systemClock);
    } finally {
      await sql.end();
    }
  },
};

type Options = { readonly organizationId: string | null; readonly asJson: boolean };

function readOptions(args: readonly string[]): Options {
  const [action, ...rest] = args;
  if (action !== "verify") {
    throw new UsageError(action === undefined ? "say what to do: verify" : `unknown: ${action}`);
  }
  try {
    const { values } = parseArgs({
      args: rest,
      options: { json: { type: "boolean" }, organization: { type: "string" } },
      strict: true,
    });
    return { organizationId: values.organization ?? null, asJson: values.json === true };
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : "the arguments are wrong");
  }
}

async function verify(sql: Sql, options: Options, clock: Clock): Promise<ExitCode> {
  const { organizationId, asJson } = options;
  if (organizationId !== null && !(await organizationExists(sql, organizationId))) {
    throw new UsageError(`there is no organization ${organizationId}`);
  }
  const startedMs = clock.monotonicMs();
  const elapsedMs = (): number => Math.round(clock.monotonicMs() - startedMs);
  const progress = reportEvery(PROGRESS_EVERY_MS, elapsedMs);
  const { onProgress } = progress;
  const verdict = await verifyLedger(sql, { organizationId, onProgress }).finally(progress.stop);
  if (asJson) {
    console.log(JSON.stringify(toJson(verdict, elapsedMs())));
  } else {
    printVerdict(verdict, elapsedMs());
  }
  return verdict.differences.count === 0n ? 0 : 1;
}

/** To standard error, so that a long run is seen to live and a short one says nothing. */
function reportEvery(intervalMs: number, elapsedMs: () => number) {
  let latest: VerifyProgress | null = null;
  const timer = setInterval(() => {
    if (latest !== null) {
      const checked = latest.checkedCount === 0n ? "" : `, ${latest.checkedCount} checked`;
      console.error(
        `${seconds(elapsedMs())}: proving ${latest.proof} of ${latest.organizationId}${checked}`,
      );
    }
  }, intervalMs);
  return {
    onProgress: (progress: VerifyProgress): void => {
      latest = progress;
    },
    stop: (): void => clearInterval(timer),
  };
}

function printVerdict({ differences, totals, heads }: Verdict, durationMs: number): void {
  for (const { proof, organizationId, code, detail } of differences.listed.slice(0, LINES_MAX)) {
    console.log(`${proof.padEnd(8)}  ${organizationId}  ${code}: ${detail}`);
  }
  if (differences.count > LINES_MAX) {
    console.log(`... ${differences.count} in all`);
  }
  for (const { organizationId, sealNo, hash } of heads.slice(0, LINES_MAX)) {
    console.log(`head      ${organizationId}  seal ${sealNo} ${hash}`);
  }
  const counted = [
    `${totals.organizationCount} organization(s)`,
    `${totals.entryCount} entries of $${formatUsd(totals.spentNanoUsd)}`,
    `${totals.sealCount} seals (${totals.unsealedEntryCount} entries not sealed yet)`,
    `${totals.windowCount} windows`,
    `${totals.usageCount} rows of daily usage`,
  ];
  console.log(`proved ${counted.join(", ")} in ${seconds(durationMs)}`);
  console.log(
    differences.count === 0n
      ? "the books are right: nothing differs"
      : `${differences.count} difference(s), $${formatUsd(differences.driftNanoUsd)} in all`,
  );
}

/** Counts as numbers, amounts as decimal strings, as everywhere in JSON. */
function toJson({ differences, totals, heads }: Verdict, durationMs: number) {
  return {
    isClean: differences.count === 0n,
    differenceCount: Number(differences.count),
    driftUsd: formatUsd(differences.driftNanoUsd),
    differences: differences.listed.map(({ driftNanoUsd, ...difference }) => ({
      ...difference,
      driftUsd: formatUsd(driftNanoUsd),
    })),
    organizationCount: Number(totals.organizationCount),
    entryCount: Number(totals.entryCount),
    spentUsd: formatUsd(totals.spentNanoUsd),
    sealCount: Number(totals.sealCount),
    unsealedEntryCount: Number(totals.unsealedEntryCount),
    windowCount: Number(totals.windowCount),
    usageCount: Number(totals.usageCount),
    heads: heads.map(({ sealNo, ...head }) => ({ ...head, sealNo: Number(sealNo) })),
    durationMs,
  };
}

function seconds(durationMs: number): string {
  return `${(durationMs / 1000).toFixed(1)} s`;
}
