/** Numbers of a measurement: percentiles, medians, and what a process costs by /proc (Linux). */
import { readdir, readFile } from "node:fs/promises";

export type Latency = { p50Ms: number; p99Ms: number };

const CLOCK_TICKS_A_SECOND = 100;
const PAGE_KIB = 4;

/** By the nearest rank; NaN of nothing. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

export function latencyOf(values: readonly number[]): Latency {
  return { p50Ms: percentile(values, 0.5), p99Ms: percentile(values, 0.99) };
}

/** Of an even number of values the middle of the two in the middle; NaN of nothing. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const below = sorted[Math.floor((sorted.length - 1) / 2)] ?? Number.NaN;
  const above = sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
  return (below + above) / 2;
}

/** Seconds on a processor that these processes and their children have used; NaN elsewhere. */
export async function processorSeconds(processIds: readonly number[]): Promise<number> {
  const all = await familyOf(processIds);
  const ticks = await Promise.all(all.map(async (id) => (await readStat(id)).ticks));
  return ticks.reduce((sum, value) => sum + value, 0) / CLOCK_TICKS_A_SECOND;
}

/** Resident memory of one process in MiB; NaN elsewhere. */
export async function residentMib(processId: number): Promise<number> {
  const text = await readFile(`/proc/${processId}/statm`, "utf8").catch(() => "");
  return (Number(text.split(" ")[1]) * PAGE_KIB) / 1024;
}

async function familyOf(processIds: readonly number[]): Promise<number[]> {
  const names = await readdir("/proc").catch(() => []);
  const ids = names.filter((name) => /^\d+$/.test(name)).map(Number);
  const parents = await Promise.all(ids.map(async (id) => (await readStat(id)).parentId));
  const children = ids.filter((_, index) => processIds.includes(parents[index] ?? 0));
  return [...processIds, ...children];
}

/** proc(5): the command may hold blanks, so the fields are counted from its closing bracket. */
async function readStat(processId: number): Promise<{ parentId: number; ticks: number }> {
  const text = await readFile(`/proc/${processId}/stat`, "utf8").catch(() => "");
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return { parentId: Number(fields[1]), ticks: Number(fields[11]) + Number(fields[12]) };
}
