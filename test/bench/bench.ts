/**
 * `bun run bench`: measures reservations, replay, whole calls, memory and a long ledger in one run
 * on one machine, with a real PostgreSQL that syncs to disk. What the numbers mean:
 * docs/benchmarks.md.
 *
 * Everything runs on loopback in processes that this one starts and stops. Never sleeps without a
 * bound; a run is given up when it takes twice as long as it should.
 */
import { cpus, totalmem } from "node:os";
import { join } from "node:path";
import { NoRoomError, requireRoom } from "./ledger.ts";
import { expectedSeconds, HELP, type Options, readOptions } from "./options.ts";
import { parts } from "./parts.ts";
import { drawShares } from "./plot.ts";
import { Progress } from "./progress.ts";
import { markdownOf, type Results } from "./report.ts";
import { nodeCommand, postmasterId, root, startPostgres, stopAll } from "./server.ts";

const DOCUMENT = join(root, "docs", "benchmarks.md");
const PLOT = join(root, "docs", "benchmarks.svg");
const MARKS = ["<!-- bench: begin -->", "<!-- bench: end -->"] as const;
/** Of the time that a run should take. */
const GIVE_UP_AFTER = 2;

async function run(options: Options): Promise<void> {
  const startedMs = performance.now();
  const progress = new Progress(options);
  const spendra = await nodeCommand(options);
  const postgres = await startPostgres();
  if (options.parts.includes("ledger")) {
    await requireRoom(postgres.dataDirectory, options.rows);
  }
  const results: Results = {
    machine: machineName(),
    measuredAt: new Date().toISOString().slice(0, 16),
    node: spendra.length === 1 ? "dist/spendra" : "from source",
    seconds: 0,
    reservations: [],
    replay: [],
    calls: [],
    memory: [],
    ledger: [],
    skipped: [],
  };
  const postmaster = await postmasterId(postgres);
  const bench = { options, progress, postgres, postmaster, spendra, results };
  for (const part of options.parts) {
    progress.begin(part);
    await parts[part](bench);
    results.seconds = Math.round((performance.now() - startedMs) / 1000);
    // After each part, so that a run that is given up leaves what it has measured.
    if (options.json !== undefined) {
      await Bun.write(options.json, `${JSON.stringify(results, null, 2)}\n`);
    }
  }
  process.stdout.write(markdownOf(results));
  if (options.isWriting) {
    await writeDocument(results);
  }
}

async function writeDocument(results: Results): Promise<void> {
  const text = await Bun.file(DOCUMENT).text();
  const [begin, end] = MARKS.map((mark) => text.indexOf(mark));
  const head = text.slice(0, (begin ?? 0) + MARKS[0].length);
  await Bun.write(DOCUMENT, `${head}\n\n${markdownOf(results)}\n${text.slice(end)}`);
  if (results.calls.length > 0) {
    await Bun.write(PLOT, drawShares(results.calls));
  }
}

function machineName(): string {
  const gibibytes = Math.round(totalmem() / 2 ** 30);
  return `${cpus().length} × ${cpus()[0]?.model.trim()}, ${gibibytes} GiB`;
}

function giveUpAfter(options: Options): Timer {
  const seconds = options.parts.reduce((sum, part) => sum + expectedSeconds(part, options), 60);
  return setTimeout(
    () => {
      process.stderr.write("the run takes too long and is given up\n");
      exitStopped(1);
    },
    seconds * GIVE_UP_AFTER * 1000,
  );
}

function exitStopped(code: number): void {
  const exit = (): never => process.exit(code);
  stopAll().then(exit, exit);
}

function optionsOrExit(): Options {
  try {
    const options = readOptions(process.argv.slice(2));
    if (options !== "help") {
      return options;
    }
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n${HELP}\n`);
    process.exit(2);
  }
  process.stdout.write(`${HELP}\n`);
  process.exit(0);
}

const options = optionsOrExit();
process.once("SIGINT", () => exitStopped(130));
const timer = giveUpAfter(options);
let exitCode = 1;
try {
  await run(options);
  exitCode = 0;
} catch (error) {
  console.error(error instanceof NoRoomError ? error.message : error);
} finally {
  await stopAll();
  clearTimeout(timer);
}
process.exit(exitCode);
