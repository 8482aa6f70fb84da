/**
 * A plot of calls a second as a share of the plain proxy's, by server and concurrency: whole calls
 * on the left, streams on the right. The axis is logarithmic, because the servers lie a factor of a
 * hundred apart.
 */
import type { CallRow } from "./calls.ts";
import { findCall } from "./targets.ts";

type Point = { x: number; y: number };
type Line = { name: string; points: Point[] };
type Panel = { title: string; left: number; lines: Line[] };
type Scale = { lowest: number; highest: number };

const WIDTH = 920;
const HEIGHT = 400;
const PANEL_WIDTH = 270;
const PANEL_LEFTS = [56, 506];
const TOP = 64;
const BOTTOM = 344;
const LABEL_HEIGHT = 15;
const CONCURRENCIES = [1, 16, 64, 256];
const TARGET_SHARE = 0.6;
const OWN = "Spendra";
const OWN_COLOUR = "#c2410c";
const COLOURS = ["#64748b", "#0f172a", "#0f766e", "#7c3aed", "#2563eb"];

/** A whole SVG document. */
export function drawShares(rows: readonly CallRow[]): string {
  const servers = [...new Set(rows.map(({ target }) => target))];
  const others = servers.filter((name) => name !== OWN);
  const colourOf = (name: string): string =>
    name === OWN ? OWN_COLOUR : (COLOURS[others.indexOf(name) % COLOURS.length] ?? OWN_COLOUR);
  const scale = scaleOf(rows);
  const panels = [false, true].map((isStreaming, index): Panel => {
    const left = PANEL_LEFTS[index] ?? 0;
    const lines = servers.map((name) => ({
      name,
      points: pointsOf(rows, name, isStreaming, left, scale),
    }));
    const title = isStreaming ? "Streaming calls" : "Whole calls";
    return { title, left, lines: lines.filter(({ points }) => points.length > 0) };
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}"`,
    ` height="${HEIGHT}" font-family="system-ui, sans-serif" font-size="12" fill="#334155">\n`,
    `<title>Calls a second as a share of the plain proxy's</title>\n`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#ffffff"/>\n`,
    text(16, 26, "Calls/s as a share of the plain proxy’s (upstream 0 ms)", `font-size="16"`),
    ...panels.map((panel) => drawPanel(panel, scale, colourOf)),
    "</svg>\n",
  ].join("");
}

function drawPanel(panel: Panel, scale: Scale, colourOf: (name: string) => string): string {
  const right = panel.left + PANEL_WIDTH;
  const grid = [0.01, 0.03, 0.1, 0.3, 1, 3, 10].filter(
    (share) => share >= scale.lowest && share <= scale.highest,
  );
  const targetY = yOf(TARGET_SHARE, scale);
  return [
    text(panel.left, TOP - 14, panel.title, `font-weight="600"`),
    ...grid.map((share) => {
      const y = yOf(share, scale);
      return (
        line(panel.left, y, right, y, `stroke="#e2e8f0"`) +
        text(panel.left - 8, y + 4, `${share}`, `text-anchor="end"`)
      );
    }),
    line(panel.left, targetY, right, targetY, `stroke="${OWN_COLOUR}" stroke-dasharray="5 4"`),
    text(panel.left + 4, targetY - 5, `target ${TARGET_SHARE}`, `fill="${OWN_COLOUR}"`),
    ...CONCURRENCIES.map((concurrency, index) =>
      text(xOf(index, panel.left), BOTTOM + 20, `${concurrency}`, `text-anchor="middle"`),
    ),
    text(panel.left + PANEL_WIDTH / 2, BOTTOM + 40, "calls at a time", `text-anchor="middle"`),
    ...panel.lines.map(({ name, points }) => drawLine(points, name === OWN, colourOf(name))),
    ...labelHeights(panel.lines).map(({ name, y }) =>
      text(right + 10, y + 4, name, `fill="${colourOf(name)}"${name === OWN ? BOLD : ""}`),
    ),
  ].join("");
}

const BOLD = ` font-weight="700"`;

function drawLine(points: readonly Point[], isOwn: boolean, colour: string): string {
  const path = points.map(({ x, y }) => `${round(x)},${round(y)}`).join(" ");
  const dots = points.map(
    ({ x, y }) =>
      `<circle cx="${round(x)}" cy="${round(y)}" r="${isOwn ? 4 : 3}" fill="${colour}"/>\n`,
  );
  const width = isOwn ? 3 : 1.5;
  const stroke = `fill="none" stroke="${colour}" stroke-width="${width}"`;
  return `<polyline points="${path}" ${stroke}/>\n${dots.join("")}`;
}

/** Beside the last point of each line, moved down where two would overlap. */
function labelHeights(lines: readonly Line[]): { name: string; y: number }[] {
  const wanted = lines
    .map(({ name, points }) => ({ name, y: points.at(-1)?.y ?? 0 }))
    .sort((a, b) => a.y - b.y);
  let free = 0;
  return wanted.map(({ name, y }) => {
    const placed = Math.max(y, free);
    free = placed + LABEL_HEIGHT;
    return { name, y: placed };
  });
}

function pointsOf(
  rows: readonly CallRow[],
  target: string,
  isStreaming: boolean,
  left: number,
  scale: Scale,
): Point[] {
  return CONCURRENCIES.flatMap((concurrency, index) => {
    const share = shareOf(rows, { target, concurrency, isStreaming });
    return share === undefined ? [] : [{ x: xOf(index, left), y: yOf(share, scale) }];
  });
}

function shareOf(
  rows: readonly CallRow[],
  cell: Pick<CallRow, "target" | "concurrency" | "isStreaming">,
): number | undefined {
  const own = findCall(rows, { ...cell, upstreamDelayMs: 0 });
  const plain = findCall(rows, { ...cell, target: "plain proxy", upstreamDelayMs: 0 });
  const share = own && plain ? own.perSecond / plain.perSecond : 0;
  return share > 0 ? share : undefined;
}

function scaleOf(rows: readonly CallRow[]): Scale {
  const shares = rows.flatMap((row) => shareOf(rows, row) ?? []);
  return {
    lowest: Math.min(0.1, ...shares) / 1.3,
    highest: Math.max(1, ...shares) * 1.3,
  };
}

function xOf(index: number, left: number): number {
  return left + 20 + (index * (PANEL_WIDTH - 40)) / (CONCURRENCIES.length - 1);
}

function yOf(share: number, { lowest, highest }: Scale): number {
  const height = Math.log(share / lowest) / Math.log(highest / lowest);
  return BOTTOM - height * (BOTTOM - TOP);
}

function line(x1: number, y1: number, x2: number, y2: number, style: string): string {
  return `<line x1="${x1}" y1="${round(y1)}" x2="${x2}" y2="${round(y2)}" ${style}/>\n`;
}

function text(x: number, y: number, words: string, style: string): string {
  return `<text x="${round(x)}" y="${round(y)}" ${style}>${words}</text>\n`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
