/** What `spendra doctor` looks at on this host: the state directory and the two listeners. */
import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { z } from "zod";
import type { Config, ListenAddress } from "../config.ts";
import { errorCodeOf } from "../database/sqlstate.ts";
import { checkStateDirectory } from "../operations/state-directory.ts";
import { type Finding, fail, ok, type Result, runCheck, skip } from "./doctor-check.ts";
import { probePort } from "./listen-port.ts";

const HTTP_TIMEOUT_MS = 2_000;
const CHECKS = ["state directory", "listener", "metrics listener"];

/** `config` is null when the configuration is wrong: then nothing of this is known. */
export async function examineHost(config: Config | null): Promise<readonly Finding[]> {
  if (config === null) {
    const result = skip("not looked at: mend the configuration first");
    return CHECKS.map((check) => ({ check, ...result }));
  }
  const { stateDirectory, listen, metricsListen } = config;
  const state = () => examineStateDirectory(stateDirectory);
  const port = () => examineListener(listen, "SPENDRA_LISTEN", askHealth);
  const metrics = () => examineListener(metricsListen, "SPENDRA_METRICS_LISTEN", askMetrics);
  return await Promise.all([
    runCheck("state directory", state, explainFailure),
    runCheck("listener", port, explainFailure),
    runCheck("metrics listener", metrics, explainFailure),
  ]);
}

async function examineStateDirectory(path: string): Promise<Result> {
  const mending = "Give it to the user that runs spendra, or set SPENDRA_STATE_DIR.";
  const found = await stat(path).catch(() => null);
  if (found !== null && !found.isDirectory()) {
    return fail(`${path} is not a directory`, "Remove that file, or set SPENDRA_STATE_DIR.");
  }
  try {
    if (found === null) {
      const parent = await nearestParent(path);
      if (!(await stat(parent)).isDirectory()) {
        return fail(`${path} cannot be made: ${parent} is not a directory`, mending);
      }
      await access(parent, constants.W_OK);
      return ok(`${path} is not there yet: \`spendra serve\` makes it`);
    }
    await checkStateDirectory(path);
    return ok(`${path} can be written to`);
  } catch (error) {
    return fail(`${path} cannot be written to (${errorCodeOf(error) ?? "unknown"})`, mending);
  }
}

async function nearestParent(path: string): Promise<string> {
  let parent = dirname(path);
  // A path's depth bounds this: the root is its own parent.
  while (parent !== dirname(parent) && (await stat(parent).catch(() => null)) === null) {
    parent = dirname(parent);
  }
  return parent;
}

async function examineListener(
  { host, port }: ListenAddress,
  setting: string,
  ask: (origin: string) => Promise<string | null>,
): Promise<Result> {
  const address = `${host}:${port}`;
  const { state } = await probePort(host, port);
  switch (state) {
    case "free":
      return ok(`${address} is free`);
    case "taken": {
      const spendra = await ask(originOf(host, port));
      return spendra === null
        ? fail(`${address} is taken by another program`, `Stop that one, or set ${setting}.`)
        : ok(`${address} is served by ${spendra} already`);
    }
    case "forbidden":
      return fail(
        `this user may not listen on ${address}`,
        `Set ${setting} to a port above 1023, or grant CAP_NET_BIND_SERVICE.`,
      );
    case "foreign":
      return fail(`this host has no address ${host}`, `Correct ${setting}.`);
  }
}

function originOf(host: string, port: number): string {
  const reachable = host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "::1" : host;
  return `http://${reachable.includes(":") ? `[${reachable}]` : reachable}:${port}`;
}

const healthAnswer = z.object({ status: z.literal("ok"), version: z.string(), commit: z.string() });
const metricsRefusal = z.object({ error: z.object({ code: z.literal("metrics_token_invalid") }) });

async function askHealth(origin: string): Promise<string | null> {
  const parsed = healthAnswer.safeParse(await getJson(`${origin}/health`));
  return parsed.success ? `spendra ${parsed.data.version}` : null;
}

/** Asked without the token, which is not for whoever happens to listen there. */
async function askMetrics(origin: string): Promise<string | null> {
  return metricsRefusal.safeParse(await getJson(`${origin}/metrics`)).success ? "spendra" : null;
}

async function getJson(url: string): Promise<unknown> {
  try {
    const response = await fetch(url, {
      redirect: "manual",
      signal: AbortSignal.timeout(HTTP_TIMEOUT_MS),
    });
    const body: unknown = await response.json();
    return body;
  } catch {
    // Whatever does not answer JSON in time is not Spendra.
    return null;
  }
}

function explainFailure(error: unknown): Result {
  const message = error instanceof Error ? error.message : "no reason given";
  return fail(message, "Look at this host's network settings.");
}
