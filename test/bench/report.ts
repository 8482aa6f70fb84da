/** The results as Markdown. */
import type { CallRow } from "./calls.ts";
import type { MemoryRow } from "./memory.ts";
import type { ReplayRow } from "./replay.ts";
import type { ReservationRow } from "./reservations.ts";
import { findCall, type Verdict, verdictsOf } from "./targets.ts";

/** Medians of rounds in which an empty book and a long one took turns. */
export type LedgerRow = { rows: number; perSecond: number; p50Ms: number; p99Ms: number };

export type Results = {
  machine: string;
  measuredAt: string;
  node: string;
  seconds: number;
  reservations: ReservationRow[];
  replay: ReplayRow[];
  calls: CallRow[];
  memory: MemoryRow[];
  ledger: LedgerRow[];
  skipped: string[];
};

export function markdownOf(results: Results): string {
  const parts = [
    `Measured ${results.measuredAt} in ${results.seconds} s. ${results.machine}. ` +
      `Node: ${results.node}.`,
    table(
      ["target", "measured", "met"],
      verdictsOf(results).map(({ target, verdict }) =>
        verdict === undefined
          ? [target, "not measured", "–"]
          : [target, verdict.measured, metText(verdict)],
      ),
    ),
    results.reservations.length > 0 ? reservationTable(results.reservations) : "",
    results.replay.length > 0 ? replayTable(results.replay) : "",
    ...callTables(results.calls),
    results.memory.length > 0 ? memoryTable(results.memory) : "",
    results.ledger.length > 0 ? ledgerTable(results.ledger) : "",
    ...results.skipped.map((line) => `Skipped: ${line}.`),
  ];
  return `${parts.filter((part) => part !== "").join("\n\n")}\n`;
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

function replayTable(rows: readonly ReplayRow[]): string {
  return `### Replay of a spool\n\n${table(
    ["records", "seconds", "a second", "seconds for 60,000", "client CPU µs", "PG CPU µs"],
    rows.map((row) => [
      count(row.records),
      row.seconds.toFixed(1),
      count(row.perSecond),
      row.secondsFor60000.toFixed(1),
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
      const plain =
        row.loop === "closed" ? findCall(rows, { ...row, target: "plain proxy" }) : undefined;
      return [
        `${row.concurrency}`,
        row.target,
        count(row.perSecond),
        plain === undefined ? "–" : (row.perSecond / plain.perSecond).toFixed(2),
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
    "during MiB",
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
      row.duringMib.toFixed(0),
      row.peakMib.toFixed(0),
      row.afterMib.toFixed(0),
      Number.isNaN(row.kibAStream) ? "–" : row.kibAStream.toFixed(0),
      openText(row),
      `${row.completed}`,
      `${row.aborted}`,
      `${row.failed}`,
      `${row.heldAfter}`,
    ]),
  )}`;
}

function openText({ shape, openSeconds }: MemoryRow): string {
  const never = shape === "aborts" ? "–" : "never";
  return Number.isNaN(openSeconds) ? never : openSeconds.toFixed(1);
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

function metText({ isMet }: Verdict): string {
  if (isMet === null) {
    return "–";
  }
  return isMet ? "yes" : "**no**";
}

/** Columns as wide as their widest cell, as the formatter wants them. */
function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [header, ...rows];
  const widths = header.map((_, column) =>
    Math.max(3, ...lines.map((cells) => cells[column]?.length ?? 0)),
  );
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(" | ")} |`;
  const rule = widths.map((width) => "-".repeat(width));
  return [line(header), line(rule), ...rows.map(line)].join("\n");
}

function count(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}
