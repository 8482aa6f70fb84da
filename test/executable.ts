/** The executable, built once a run and shared by all tests that need it. */

import { join } from "node:path";

const root = join(import.meta.dir, "..");
let built: Promise<string> | undefined;

/** Path of `dist/spendra`, made from the present sources. The first call takes a few seconds. */
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
  return join(root, "dist", "spendra");
}
