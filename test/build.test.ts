/** The executable alone: it needs nothing beside it, and nothing beside it can change it. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import { copyFile, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import packageJson from "../package.json" with { type: "json" };
import { builtExecutable } from "./executable.ts";

const BUILD_TIMEOUT_MS = 120_000;

let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "spendra-alone-"));
  await copyFile(await builtExecutable(), join(directory, "spendra"));
}, BUILD_TIMEOUT_MS);

afterAll(() => rm(directory, { recursive: true, force: true }));

/** Runs it where nothing else is, with an environment that holds nothing else. */
function run(...programArguments: string[]) {
  const outcome = Bun.spawnSync([join(directory, "spendra"), ...programArguments], {
    cwd: directory,
    env: { PATH: "/usr/bin:/bin" },
    timeout: 20_000,
  });
  return {
    exitCode: outcome.exitCode,
    stdout: outcome.stdout.toString(),
    stderr: outcome.stderr.toString(),
  };
}

test("tells its version from an empty directory without node_modules", () => {
  const { exitCode, stdout, stderr } = run("version");
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
  expect(stdout).toContain(packageJson.version);
});

test("refuses to serve without DATABASE_URL, though a .env beside it names one", async () => {
  await writeFile(join(directory, ".env"), "DATABASE_URL=postgres://nobody@127.0.0.1:1/x\n");
  const { exitCode, stderr, stdout } = run("serve");
  expect(exitCode).not.toBe(0);
  expect(stderr + stdout).toContain("DATABASE_URL");
});

test("ignores a bunfig.toml beside it", async () => {
  await writeFile(join(directory, "preloaded.ts"), 'console.log("preloaded");\n');
  await writeFile(join(directory, "bunfig.toml"), 'preload = ["./preloaded.ts"]\n');
  const { exitCode, stdout } = run("version");
  expect(exitCode).toBe(0);
  expect(stdout).not.toContain("preloaded");
});
