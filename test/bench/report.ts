/** The results as Markdown, and which of the targets of issue 3 they reach. */
import type { CallRow } from "./calls.ts";
import type { MemoryRow } from "./memory.ts";
import type { ReservationRow } from "./reservations.ts";

export type LedgerRow = { rows: number; perSecond: number; p50Ms: number; p99Ms: number };

export type Results = {
  machine: string;
  measuredAt: string;
  node: string;
  seconds: number;
  reservations: ReservationRow[];
  calls: CallRow[];
  memory: MemoryRow[];
  ledger: LedgerRow[];
  skipped: string[];
};

type Verdict = { target: string; measured: string; isMet: boolean };

export function markdownOf(results: Results): string {
  const parts = [
    `Measured ${results.measuredAt} in ${results.seconds} s. ${results.machine}. ` +
      `Node: ${results.node}.`,
    table(
      ["target", "measured", "met"],
      verdictsOf(results).map((row) => [row.target, row.measured, row.isMet ? "yes" : "**no**"]),
    ),
    results.reservations.length > 0 ? reservationTable(results.reservations) : "",
    ...callTables(results.calls),
    results.memory.length > 0 ? memoryTable(results.memory) : "",
    results.ledger.length > 0 ? ledgerTable(results.ledger) : "",
    ...results.skipped.map((line) => `Skipped: ${line}.`),
  ];
  return `${parts.filter((part) => part !== "").join("\n\n")}\n`;
}

export function verdictsOf(results: Results): Verdict[] {
  return [
    ...reservationVerdicts(results.reservations),
    ...ratioVerdicts(results.calls),
    ...latencyVerdicts(results.calls),
    ...memoryVerdicts(results),
  ];
}

function reservationVerdicts(rows: readonly ReservationRow[]): Verdict[] {
  const hot = rows.filter((row) => row.budgets === 1);
  const single = hot.filter((row) => row.way === "one a transaction").map((row) => row.perSecond);
  const writer = hot.find((row) => row.way === "writer" && row.waiting === 256)?.perSecond;
  if (writer === undefined) {
    return [];
  }
  const ratio = writer / Math.max(...single);
  return [
    verdict("one hot budget: ≥ 20 × one a transaction", `${ratio.toFixed(1)} ×`, ratio >= 20),
    verdict("≥ 50,000 reservations/s at 256 waiting", count(writer), writer >= 50_000),
  ];
}

function ratioVerdicts(rows: readonly CallRow[]): Verdict[] {
  const verdicts: Verdict[] = [];
  for (const isStreaming of [false, true]) {
    const kind = isStreaming ? "streaming" : "whole";
    for (const concurrency of [64, 256]) {
      const of = (target: string): number | undefined =>
        find(rows, { target, concurrency, isStreaming, upstreamDelayMs: 0 })?.perSecond;
      const own = of("Spendra");
      const plain = of("plain proxy");
      const portkey = of("Portkey");
      if (own !== undefined && plain !== undefined) {
        const text = `≥ 0.6 of the plain Bun proxy, ${concurrency} ${kind}`;
        verdicts.push(verdict(text, (own / plain).toFixed(2), own / plain >= 0.6));
      }
      if (own !== undefined && portkey !== undefined) {
        const text = `≥ 10 × Portkey, ${concurrency} ${kind}`;
        verdicts.push(verdict(text, `${(own / portkey).toFixed(1)} ×`, own / portkey >= 10));
      }
    }
  }
  return verdicts;
}

/** What the node adds to the upstream's own time, at an upstream of 20 ms. */
function latencyVerdicts(rows: readonly CallRow[]): Verdict[] {
  const verdicts: Verdict[] = [];
  for (const concurrency of [1, 16]) {
    const at = (target: string, isStreaming: boolean): CallRow | undefined =>
      find(rows, { target, concurrency, isStreaming, upstreamDelayMs: 20 });
    const [own, direct] = [at("Spendra", false), at("direct", false)];
    const [stream, directStream] = [at("Spendra", true), at("direct", true)];
    if (own !== undefined && direct !== undefined) {
      const p50 = own.p50Ms - direct.p50Ms;
      const p99 = own.p99Ms - direct.p99Ms;
      verdicts.push(verdict(`added p50 ≤ 1.2 ms at ${concurrency}`, milliseconds(p50), p50 <= 1.2));
      verdicts.push(verdict(`added p99 ≤ 5 ms at ${concurrency}`, milliseconds(p99), p99 <= 5));
    }
    if (stream !== undefined && directStream !== undefined) {
      const added = stream.firstByteP99Ms - directStream.firstByteP99Ms;
      const text = `added time to first byte p99 ≤ 5 ms at ${concurrency}`;
      verdicts.push(verdict(text, milliseconds(added), added <= 5));
    }
  }
  return verdicts;
}

function memoryVerdicts({ memory, ledger }: Results): Verdict[] {
  const verdicts: Verdict[] = [];
  for (const row of memory) {
    if (row.load.includes("aborting")) {
      const change = row.afterMib / row.beforeMib - 1;
      const text = "memory after the abort run within 10 % of before";
      verdicts.push(verdict(text, `${(change * 100).toFixed(1)} %`, Math.abs(change) <= 0.1));
      const held = `${row.heldAfter} held, ${row.failed} failed`;
      verdicts.push(verdict("no hold left after it", held, row.heldAfter === 0));
    } else {
      const kib = row.kibAStream;
      const text = Number.isNaN(kib) ? "never all open at once" : `${kib.toFixed(0)} KiB`;
      verdicts.push(verdict(`≤ 64 KiB a stream, ${row.load}`, text, kib <= 64));
    }
  }
  const [empty, full] = ledger;
  if (empty !== undefined && full !== undefined) {
    const ratio = full.perSecond / empty.perSecond;
    const text = `throughput at ${count(full.rows)} entries ≥ 0.9 of ${count(empty.rows)}`;
    verdicts.push(verdict(text, ratio.toFixed(2), ratio >= 0.9));
  }
  return verdicts;
}

type Cell = { target: string; concurrency: number; isStreaming: boolean; upstreamDelayMs: number };

function find(rows: readonly CallRow[], cell: Cell): CallRow | undefined {
  return rows.find(
    (row) =>
      row.loop === "closed" &&
      row.target === cell.target &&
      row.concurrency === cell.concurrency &&
      row.isStreaming === cell.isStreaming &&
      row.upstreamDelayMs === cell.upstreamDelayMs,
  );
}

function reservationTable(rows: readonly ReservationRow[]): string {
  return `### Reservations\n\n${table(
    ["way", "waiting", "budgets", "a second", "p50 ms", "p99 ms", "client CPU µs", "PG CPU µs"],
    rows.map((row) => [
      row.way,
      `${row.waiting}`,
      `${row.budgets}`,
      count(row.perSecond),
      row.p50Ms.toFixed(2),
      row.p99Ms.toFixed(2),
      row.clientCpuMicroseconds.toFixed(0),
      row.postgresCpuMicroseconds.toFixed(0),
    ]),
  )}`;
}

function callTables(rows: readonly CallRow[]): string[] {
  const shapes = new Map<string, CallRow[]>();
  for (const row of rows) {
    const kind = row.isStreaming ? "Streaming calls" : "Whole calls";
    const title = `${kind}, upstream ${row.upstreamDelayMs} ms, ${row.loop} loop`;
    shapes.set(title, [...(shapes.get(title) ?? []), row]);
  }
  return [...shapes].map(([title, shape]) => `### ${title}\n\n${callTable(shape)}`);
}

function callTable(rows: readonly CallRow[]): string {
  const header = ["at a time", "server", "calls/s", "of plain", "p50 ms", "p99 ms"];
  return table(
    [...header, "first byte p50", "first byte p99", "CPU µs", "generator CPU µs", "failed"],
    rows.map((row) => {
      const plain = find(rows, { ...row, target: "plain proxy" })?.perSecond ?? Number.NaN;
      return [
        `${row.concurrency}`,
        row.target,
        count(row.perSecond),
        (row.perSecond / plain).toFixed(2),
        row.p50Ms.toFixed(2),
        row.p99Ms.toFixed(2),
        row.firstByteP50Ms.toFixed(2),
        row.firstByteP99Ms.toFixed(2),
        row.cpuMicroseconds.toFixed(0),
        row.ownCpuMicroseconds.toFixed(0),
        `${row.failures}`,
      ];
    }),
  );
}

function memoryTable(rows: readonly MemoryRow[]): string {
  const header = [
    "load",
    "before MiB",
    "peak MiB",
    "after MiB",
    "KiB a stream",
    "all open after s",
  ];
  return `### Memory of the node\n\n${table(
    [...header, "completed", "aborted", "failed", "held after"],
    rows.map((row) => [
      row.load,
      row.beforeMib.toFixed(0),
      row.peakMib.toFixed(0),
      row.afterMib.toFixed(0),
      Number.isNaN(row.kibAStream) ? "–" : row.kibAStream.toFixed(0),
      Number.isNaN(row.openSeconds) ? "never" : row.openSeconds.toFixed(1),
      `${row.completed}`,
      `${row.aborted}`,
      `${row.failed}`,
      `${row.heldAfter}`,
    ]),
  )}`;
}

function ledgerTable(rows: readonly LedgerRow[]): string {
  return `### A long ledger (64 whole calls at a time)\n\n${table(
    ["entries before", "calls/s", "p50 ms", "p99 ms"],
    rows.map((row) => [
      count(row.rows),
      count(row.perSecond),
      row.p50Ms.toFixed(2),
      row.p99Ms.toFixed(2),
    ]),
  )}`;
}

function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  return [line(header), line(header.map(() => "---")), ...rows.map(line)].join("\n");
}

function verdict(target: string, measured: string, isMet: boolean): Verdict {
  return { target, measured, isMet };
}

function count(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

function milliseconds(value: number): string {
  return `${value.toFixed(2)} ms`;
}
