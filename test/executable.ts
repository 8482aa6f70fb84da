/** The executable, built once a run and shared by all tests that need it. */

import { copyFile, mkdir } from "node:fs/promises";
import { join } from "node:path";

const root = join(import.meta.dir, "..");
let built: Promise<string> | undefined;

/**
 * Path of a copy of `dist/spendra`, made from the present sources and alone in a directory, so that
 * it finds nothing of the repository beside it. The first call takes a few seconds.
 */
export function builtExecutable(): Promise<string> {
  built ??= build();
  return built;
}

async function build(): Promise<string> {
  const child = Bun.spawn([process.execPath, join(root, "appliance", "build.ts")], {
    cwd: root,
    stdout: "pipe",
    stderr: "pipe",
  });
  const [exitCode, log] = await Promise.all([child.exited, new Response(child.stderr).text()]);
  if (exitCode !== 0) throw new Error(`the build failed with exit code ${exitCode}:\n${log}`);
  // Under a plain `bun test` there is no directory of the run, and dist/alone is used again.
  const directory = join(process.env["SPENDRA_TEST_DIRECTORY"] ?? join(root, "dist"), "alone");
  await mkdir(directory, { recursive: true });
  const copy = join(directory, "spendra");
  await copyFile(join(root, "dist", "spendra"), copy);
  return copy;
}
