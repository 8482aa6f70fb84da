/** Keeps the overview fresh: asks again every ten seconds, but only while somebody is looking. */

export const REFRESH_INTERVAL_MS = 10_000;

/**
 * Calls `refresh` now, and again ten seconds after each answer while the page is visible; at once
 * when it becomes visible again. Returns the function that stops it.
 */
export function keepFresh(refresh: () => Promise<void>): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isRunning = false;
  let isStopped = false;

  async function run(): Promise<void> {
    clearTimeout(timer);
    if (isRunning || isStopped || document.hidden) return;
    isRunning = true;
    try {
      await refresh();
    } finally {
      isRunning = false;
      if (!isStopped) timer = setTimeout(start, REFRESH_INTERVAL_MS);
    }
  }

  // `refresh` shows its failures itself; what is left is a mistake, and belongs in the console.
  function start(): void {
    run().catch(reportError);
  }

  document.addEventListener("visibilitychange", start);
  start();
  return () => {
    isStopped = true;
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", start);
  };
}
