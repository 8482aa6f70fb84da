/** The short form of `bun run chaos`: whatever dies or hangs, every call is booked exactly once. */
import { expect, test } from "bun:test";
import { newSeed } from "./chaos/random.ts";
import { runChaos } from "./chaos/run-chaos.ts";

const CALLS = 600;
const DURATION_MS = 25_000;
const CALLS_TIMEOUT_MS = 60_000;
const TIMEOUT_MS = 150_000;

test(
  "killed nodes and a crashing PostgreSQL lose no money and make none up",
  async () => {
    const seed = Number(process.env["SPENDRA_TEST_CHAOS_SEED"] ?? newSeed());
    const progress: string[] = [];
    const { violations } = await runChaos({
      calls: CALLS,
      seed,
      durationMs: DURATION_MS,
      callsTimeoutMs: CALLS_TIMEOUT_MS,
      onProgress: (line) => progress.push(line),
    });
    const replay = `SPENDRA_TEST_CHAOS_SEED=${seed} npm test -- test/chaos.test.ts`;
    const story = violations.length === 0 ? [] : [...violations, `Replay: ${replay}`, ...progress];
    expect(story).toEqual([]);
  },
  TIMEOUT_MS,
);
