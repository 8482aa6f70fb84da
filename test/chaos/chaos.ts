/**
 * The long form of the chaos test: `bun run chaos -- --calls 10000`, with `--seed` to tell a run
 * again. Exits with 1 when money was lost, doubled or made up.
 */
import { parseArgs } from "node:util";
import { newSeed } from "./random.ts";
import { runChaos } from "./run-chaos.ts";

/** About what the nodes can take while they are disturbed. */
const CALLS_PER_SECOND = 40;
const CALLS_TIMEOUT_MS = 9 * 60_000;

const { values } = parseArgs({
  options: {
    calls: { type: "string", default: "10000" },
    seed: { type: "string", default: `${newSeed()}` },
  },
});
const [calls, seed] = [Number(values.calls), Number(values.seed)];
if (!(Number.isSafeInteger(calls) && calls > 0 && Number.isSafeInteger(seed))) {
  console.error("usage: bun run chaos -- [--calls 10000] [--seed 1]");
  process.exit(2);
}
const replay = `bun run chaos -- --calls ${calls} --seed ${seed}`;
console.log(replay);
const report = await runChaos({
  calls,
  seed,
  durationMs: (calls / CALLS_PER_SECOND) * 1_000,
  callsTimeoutMs: CALLS_TIMEOUT_MS,
  onProgress: (line) => console.log(line),
});
for (const [name, count] of Object.entries({ ...report.disturbances, ...report.counts })) {
  console.log(`${`${count}`.padStart(7)}  ${name}`);
}
for (const violation of report.violations) console.log(`VIOLATION  ${violation}`);
console.log(
  report.violations.length === 0
    ? "every call is booked as it should be"
    : `${report.violations.length} violation(s); again with: ${replay}`,
);
process.exit(report.violations.length === 0 ? 0 : 1);
