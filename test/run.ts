/**
 * Runs the tests and ends with one plain line: `N passed, N failed` (and `, N skipped`).
 *
 * Starts one PostgreSQL for all test files, leaves out browser tests where there is no Chromium
 * (and says so), and fails when a test failed or left a database behind, when nothing ran, and
 * with CI=true when anything was skipped. Arguments that name test files choose them; all others go
 * to `bun test`: `npm test -- test/money.test.ts -t rounds`.
 */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { startLocalPostgres } from "../src/operations/local-postgres.ts";
import { findChromium } from "./chromium.ts";
import { listLeftDatabases, testServerSettings } from "./postgres.ts";

const root = join(import.meta.dir, "..");
const TEST_TIMEOUT_MS = 30_000;
const BROWSER_SUFFIX = ".browser.test.ts";

type Totals = { passed: number; failed: number; skipped: number };

const isContinuousIntegration = process.env["CI"] === "true";

process.exitCode = await main(process.argv.slice(2));

async function main(programArguments: string[]): Promise<number> {
  const { files, options } = await chooseFiles(programArguments);
  const isBrowserThere = findChromium() !== undefined;
  const leftOut = isBrowserThere ? [] : files.filter((file) => file.endsWith(BROWSER_SUFFIX));
  const chosen = files.filter((file) => !leftOut.includes(file));
  const totals = await runWithPostgres(chosen, options).catch((error: unknown) => {
    console.error(error instanceof Error ? error.message : error);
    return { passed: 0, failed: 1, skipped: 0 };
  });
  reportLeftOut(leftOut);
  const skipped = totals.skipped > 0 ? `, ${totals.skipped} skipped` : "";
  console.log(`${totals.passed} passed, ${totals.failed} failed${skipped}`);
  const isIncomplete = isContinuousIntegration && (totals.skipped > 0 || leftOut.length > 0);
  return totals.failed > 0 || totals.passed === 0 || isIncomplete ? 1 : 0;
}

async function chooseFiles(
  programArguments: string[],
): Promise<{ files: string[]; options: string[] }> {
  const present = [...new Bun.Glob("{test,src}/**/*.test.ts").scanSync({ cwd: root })].sort();
  const isFile = (argument: string) => argument.endsWith(".test.ts");
  const named = programArguments.filter(isFile).map((argument) => argument.replace(/^\.\//, ""));
  const options = programArguments.filter((argument) => !isFile(argument));
  if (named.length === 0) return { files: present, options };
  return { files: present.filter((file) => named.some((name) => file.endsWith(name))), options };
}

async function runWithPostgres(files: string[], options: string[]): Promise<Totals> {
  if (files.length === 0) throw new Error("No test file is left to run.");
  const postgres = await startLocalPostgres({ version: 18, settings: testServerSettings });
  const directory = await mkdtemp(join(tmpdir(), "spendra-test-"));
  try {
    const report = join(directory, "junit.xml");
    const exitCode = await runBunTest(files, options, report, postgres.url);
    const totals = await readTotals(report, exitCode);
    return await countLeftDatabases(totals, postgres.url);
  } finally {
    await rm(directory, { recursive: true, force: true });
    await postgres.stop();
  }
}

async function runBunTest(
  files: string[],
  options: string[],
  report: string,
  postgresUrl: string,
): Promise<number> {
  const child = Bun.spawn(
    [
      process.execPath,
      "test",
      `--timeout=${TEST_TIMEOUT_MS}`,
      "--reporter=junit",
      `--reporter-outfile=${report}`,
      ...options,
      // With "./" Bun takes a path; without, a pattern.
      ...files.map((file) => `./${file}`),
    ],
    {
      cwd: root,
      env: {
        ...process.env,
        SPENDRA_TEST_POSTGRES_URL: postgresUrl,
        // Removed with everything in it when the run is over.
        SPENDRA_TEST_DIRECTORY: dirname(report),
      },
      stdio: ["ignore", "inherit", "inherit"],
    },
  );
  return await child.exited;
}

/** The report's own sums; a crash or an error outside a test counts as one failure. */
async function readTotals(report: string, exitCode: number): Promise<Totals> {
  const head =
    /<testsuites[^>]*>/.exec(
      await Bun.file(report)
        .text()
        .catch(() => ""),
    )?.[0] ?? "";
  const count = (name: string) =>
    parseInt(new RegExp(` ${name}="(\\d+)"`).exec(head)?.[1] ?? "0", 10);
  const failed = count("failures") + count("errors");
  const skipped = count("skipped");
  const passed = Math.max(0, count("tests") - failed - skipped);
  if (exitCode === 0 || failed > 0) return { passed, failed, skipped };
  console.log(`\nbun test ended with exit code ${exitCode} for a reason outside the tests.`);
  return { passed, failed: 1, skipped };
}

async function countLeftDatabases(totals: Totals, postgresUrl: string): Promise<Totals> {
  const left = await listLeftDatabases(postgresUrl);
  // A test that failed in the middle is reported already.
  if (left.length === 0 || totals.failed > 0) return totals;
  console.log(`\nTests left databases behind; call drop():\n  ${left.join("\n  ")}`);
  return { ...totals, failed: 1 };
}

function reportLeftOut(leftOut: string[]): void {
  if (leftOut.length === 0) return;
  const bar = "!".repeat(80);
  console.log(`\n${bar}\nBROWSER TESTS LEFT OUT: no Chromium was found on this machine.`);
  console.log("Install it (on Debian: apt-get install chromium), or set SPENDRA_TEST_CHROMIUM.");
  console.log(`${leftOut.map((file) => `  not run: ${file}`).join("\n")}\n${bar}`);
}
