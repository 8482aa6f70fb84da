/** One process at a time has the state directory, and a node keeps its id over restarts. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { claimNodeIdentity } from "../src/operations/node-identity.ts";

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "spendra-identity-"));
});

afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

test("the directory of a running process is refused, with its number", async () => {
  const child = Bun.spawn(["sleep", "60"]);
  const stat = await readFile(`/proc/${child.pid}/stat`, "utf8");
  const startedAt = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  await writeFile(join(directory, "lock"), `${child.pid} ${startedAt}`);
  const failure: unknown = await claimNodeIdentity(directory, new Date()).catch(
    (error: unknown) => error,
  );
  child.kill();
  await child.exited;
  expect(String(failure)).toContain(`in use by process ${child.pid}`);
});

test("the directory of a process that was killed is taken over, with its id", async () => {
  const first = await claimNodeIdentity(directory, new Date());
  await first.release();
  const child = Bun.spawn(["true"]);
  await child.exited;
  await writeFile(join(directory, "lock"), `${child.pid} 12345`);
  const second = await claimNodeIdentity(directory, new Date());
  expect(second.nodeId).toBe(first.nodeId);
});

test("a process number that belongs to another process by now blocks nothing", async () => {
  await writeFile(join(directory, "lock"), "1 999999999999");
  const claimed = await claimNodeIdentity(directory, new Date());
  expect(claimed.nodeId).toMatch(/^nod_[0-9A-Z]{26}$/);
});

test("a damaged id or lock is replaced", async () => {
  await writeFile(join(directory, "node-id"), "nod_nonsense");
  await writeFile(join(directory, "lock"), "");
  const claimed = await claimNodeIdentity(directory, new Date());
  expect(claimed.nodeId).toMatch(/^nod_[0-9A-Z]{26}$/);
});
