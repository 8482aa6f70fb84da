/** Waits for a condition that nothing announces, by asking again and again up to a limit. */

const POLL_MS = 10;
const TIMEOUT_MS = 15_000;

/** Resolves with the first answer that is neither false nor null; throws when none came in time. */
export async function waitUntil<Answer>(
  what: string,
  ask: () => Answer | Promise<Answer>,
  timeoutMs: number = TIMEOUT_MS,
): Promise<Exclude<Answer, false | null | undefined>> {
  const endMs = performance.now() + timeoutMs;
  for (;;) {
    const answer = await ask();
    if (answer !== false && answer !== null && answer !== undefined) {
      return answer as Exclude<Answer, false | null | undefined>;
    }
    if (performance.now() > endMs) {
      throw new Error(`waited ${timeoutMs} ms in vain until ${what}`);
    }
    await Bun.sleep(POLL_MS);
  }
}
