/** Colour for people at a terminal, and plain text for everybody else. */
import { env } from "node:process";

/** Each wraps a text, or leaves it as it is. */
export type Style = {
  readonly bold: (text: string) => string;
  readonly dim: (text: string) => string;
  readonly green: (text: string) => string;
  readonly yellow: (text: string) => string;
  readonly red: (text: string) => string;
};

/** Only on a terminal, and not when NO_COLOR is set (https://no-color.org). */
export function styleFor(stream: { isTTY?: boolean }): Style {
  const isPlain = stream.isTTY !== true || (env["NO_COLOR"] ?? "") !== "";
  const paint =
    (start: number, end: number) =>
    (text: string): string =>
      isPlain ? text : `\u001b[${start}m${text}\u001b[${end}m`;
  return {
    bold: paint(1, 22),
    dim: paint(2, 22),
    green: paint(32, 39),
    yellow: paint(33, 39),
    red: paint(31, 39),
  };
}
