/** The targets that were set for Spendra, and which of them the results reach. */
import type { CallRow } from "./calls.ts";
import type { Results } from "./report.ts";

/** `isMet` is null when what was measured falls short of what the target asks to be measured. */
export type Verdict = { measured: string; isMet: boolean | null };

type Target = { target: string; judge: (results: Results) => Verdict | undefined };

type Cell = Pick<CallRow, "target" | "concurrency" | "isStreaming" | "upstreamDelayMs">;

const RESERVATIONS_PER_SECOND = 50_000;
const REPLAYED_PER_SECOND = 5_000;
const KIB_A_STREAM = 64;
const LEDGER_ROWS = 50_000_000;
const LEDGER_RATIO_MIN = 0.9;

const targets: readonly Target[] = [
  { target: "one hot budget: ≥ 20 × one a transaction", judge: judgeHotBudget },
  { target: "≥ 50,000 reservations/s at 256 waiting", judge: judgeReservations },
  ...[false, true].flatMap((isStreaming) =>
    [64, 256].flatMap((concurrency): Target[] => {
      const cell = { concurrency, isStreaming, upstreamDelayMs: 0 };
      const kind = `${concurrency} ${isStreaming ? "streaming" : "whole"}`;
      return [
        {
          target: `≥ 0.6 of the plain Bun proxy, ${kind}`,
          judge: ({ calls }) => judgeRatio(calls, cell, "plain proxy", 0.6),
        },
        {
          target: `≥ 10 × Portkey, ${kind}`,
          judge: ({ calls }) => judgeRatio(calls, cell, "Portkey", 10),
        },
      ];
    }),
  ),
  ...[1, 16].flatMap((concurrency): Target[] => [
    {
      target: `added p50 ≤ 1.2 ms at ${concurrency}`,
      judge: ({ calls }) => judgeAdded(calls, concurrency, false, "p50Ms", 1.2),
    },
    {
      target: `added p99 ≤ 5 ms at ${concurrency}`,
      judge: ({ calls }) => judgeAdded(calls, concurrency, false, "p99Ms", 5),
    },
    {
      target: `added time to first byte p99 ≤ 5 ms at ${concurrency}`,
      judge: ({ calls }) => judgeAdded(calls, concurrency, true, "firstByteP99Ms", 5),
    },
  ]),
  { target: "≤ 64 KiB a stream", judge: judgeStreams },
  { target: "memory after aborts within 10 % of before, or below", judge: judgeAborts },
  { target: "no hold left after aborts", judge: judgeHolds },
  { target: "calls/s with a ledger of 50 million ≥ 0.9 of empty", judge: judgeLedger },
  { target: "≥ 5,000 records/s replayed from a spool", judge: judgeReplay },
];

/** One for each target; `undefined` where the run did not measure it. */
export function verdictsOf(results: Results): { target: string; verdict: Verdict | undefined }[] {
  return targets.map(({ target, judge }) => ({ target, verdict: judge(results) }));
}

/** In the closed loop. */
export function findCall(rows: readonly CallRow[], cell: Cell): CallRow | undefined {
  return rows.find(
    (row) =>
      row.loop === "closed" &&
      row.target === cell.target &&
      row.concurrency === cell.concurrency &&
      row.isStreaming === cell.isStreaming &&
      row.upstreamDelayMs === cell.upstreamDelayMs,
  );
}

function judgeHotBudget({ reservations }: Results): Verdict | undefined {
  const hot = reservations.filter((row) => row.budgets === 1);
  const single = hot.filter((row) => row.way === "one a transaction").map((row) => row.perSecond);
  const writer = hot.find((row) => row.way === "writer" && row.waiting === 256)?.perSecond;
  if (writer === undefined || single.length === 0) {
    return undefined;
  }
  const ratio = writer / Math.max(...single);
  return { measured: `${ratio.toFixed(1)} ×`, isMet: ratio >= 20 };
}

function judgeReservations({ reservations }: Results): Verdict | undefined {
  const writer = reservations.find(
    (row) => row.way === "writer" && row.waiting === 256 && row.budgets === 1,
  );
  return (
    writer && {
      measured: count(writer.perSecond),
      isMet: writer.perSecond >= RESERVATIONS_PER_SECOND,
    }
  );
}

function judgeRatio(
  rows: readonly CallRow[],
  cell: Omit<Cell, "target">,
  other: string,
  ratioMin: number,
): Verdict | undefined {
  const own = findCall(rows, { ...cell, target: "Spendra" });
  const compared = findCall(rows, { ...cell, target: other });
  if (own === undefined || compared === undefined) {
    return undefined;
  }
  const ratio = own.perSecond / compared.perSecond;
  return { measured: `${ratio.toFixed(2)} ×`, isMet: ratio >= ratioMin };
}

/** What the node adds to the upstream's own time, at an upstream of 20 ms. */
function judgeAdded(
  rows: readonly CallRow[],
  concurrency: number,
  isStreaming: boolean,
  value: "p50Ms" | "p99Ms" | "firstByteP99Ms",
  addedMaxMs: number,
): Verdict | undefined {
  const cell = { concurrency, isStreaming, upstreamDelayMs: 20 };
  const own = findCall(rows, { ...cell, target: "Spendra" });
  const direct = findCall(rows, { ...cell, target: "direct" });
  if (own === undefined || direct === undefined) {
    return undefined;
  }
  const addedMs = own[value] - direct[value];
  return { measured: `${addedMs.toFixed(2)} ms`, isMet: addedMs <= addedMaxMs };
}

function judgeStreams({ memory }: Results): Verdict | undefined {
  const row = memory.find(({ shape }) => shape === "slow streams");
  if (row === undefined) {
    return undefined;
  }
  const kib = row.kibAStream;
  const size = Number.isNaN(kib) ? "never all open at once" : `${kib.toFixed(0)} KiB`;
  return {
    measured: `${size}, ${row.failed} failed`,
    isMet: kib <= KIB_A_STREAM && row.failed === 0,
  };
}

function judgeAborts({ memory }: Results): Verdict | undefined {
  const row = memory.find(({ shape }) => shape === "aborts");
  if (row === undefined) {
    return undefined;
  }
  const change = row.afterMib / row.beforeMib - 1;
  return { measured: `${(change * 100).toFixed(1)} %`, isMet: change <= 0.1 };
}

function judgeHolds({ memory }: Results): Verdict | undefined {
  const row = memory.find(({ shape }) => shape === "aborts");
  return (
    row && {
      measured: `${row.heldAfter} held, ${row.failed} failed`,
      isMet: row.heldAfter === 0 && row.failed === 0,
    }
  );
}

/** A shorter ledger can miss the target, but not meet it. */
function judgeLedger({ ledger }: Results): Verdict | undefined {
  const [empty, long] = ledger;
  if (empty === undefined || long === undefined) {
    return undefined;
  }
  const ratio = long.perSecond / empty.perSecond;
  const isLong = long.rows >= LEDGER_ROWS;
  const isMet = ratio < LEDGER_RATIO_MIN ? false : isLong || null;
  return { measured: `${ratio.toFixed(2)} at ${count(long.rows)}`, isMet };
}

function judgeReplay({ replay: [row] }: Results): Verdict | undefined {
  return row && { measured: count(row.perSecond), isMet: row.perSecond >= REPLAYED_PER_SECOND };
}

function count(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}
