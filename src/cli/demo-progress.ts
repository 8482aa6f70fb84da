/** The lines that say what the demo does, on standard error: standard output is the result's. */
import type { Clock } from "../clock.ts";
import type { Style } from "./terminal.ts";

/** Does one step and says so. Throws the signal's reason when the demo was told to stop. */
export type Progress = {
  step<Result>(
    what: string,
    work: () => Promise<Result>,
    /** Says what came of it, in place of what was being done. */
    outcome?: (result: Result) => string,
  ): Promise<Result>;
  note(text: string): void;
};

type Terminal = { isTTY?: boolean; write(text: string): unknown };

const OUTCOME_COLUMNS = 66;

export function openProgress(
  terminal: Terminal,
  tools: { style: Style; clock: Clock; signal: AbortSignal },
): Progress {
  const { style, clock, signal } = tools;
  const isLive = terminal.isTTY === true;
  const clear = isLive ? "\r\u001b[K" : "";
  return {
    async step(what, work, outcome) {
      signal.throwIfAborted();
      if (isLive) {
        terminal.write(style.dim(`  … ${what}`));
      }
      const startedMs = clock.monotonicMs();
      try {
        const result = await work();
        const seconds = ((clock.monotonicMs() - startedMs) / 1000).toFixed(2);
        const said = (outcome?.(result) ?? what).padEnd(OUTCOME_COLUMNS);
        terminal.write(`${clear}  ${style.green("✓")} ${said} ${style.dim(`${seconds} s`)}\n`);
        return result;
      } catch (error) {
        terminal.write(`${clear}  ${style.red("✗")} ${what}\n`);
        throw error;
      }
    },
    note(text) {
      terminal.write(`  ${style.yellow("!")} ${text}\n`);
    },
  };
}
