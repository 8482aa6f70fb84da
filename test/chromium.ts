/** Finds the Chromium that browser tests (`*.browser.test.ts`) drive. */

import { existsSync } from "node:fs";

/** Path of the program: SPENDRA_TEST_CHROMIUM, else what is installed, else undefined. */
export function findChromium(): string | undefined {
  const given = process.env["SPENDRA_TEST_CHROMIUM"];
  if (given) {
    if (existsSync(given)) return given;
    throw new Error(`SPENDRA_TEST_CHROMIUM names ${given}, which does not exist`);
  }
  const names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
  const onPath = names.map((name) => Bun.which(name)).find((path) => path !== null);
  const macApplication = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome";
  return onPath ?? (existsSync(macApplication) ? macApplication : undefined);
}
