/**
 * LiteLLM's proxy, installed with pip, one worker. Its keys and their budgets need a database,
 * which it reaches through an engine that no package brings (prisma downloads it). So it runs with
 * a master key and the provider's budget, both kept in memory: less work than its budgets are with
 * a database, and nothing of it is durable.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { installOnce, requireProgram, type StartedPeer } from "./peer-program.ts";
import { freePort, startProgram } from "./server.ts";

const VERSION = "1.106.2";
const MASTER_KEY = "sk-bench";

export async function startLiteLlm(upstream: URL): Promise<StartedPeer> {
  const directory = await installOnce(`litellm-${VERSION}`, (venv) => [
    [requireProgram("python3"), "-m", "venv", venv],
    [join(venv, "bin/pip"), "install", "--quiet", `litellm[proxy]==${VERSION}`],
  ]);
  const port = await freePort();
  const home = join(tmpdir(), `spendra-bench-litellm-${port}`);
  const settings = join(home, "settings.json");
  await mkdir(home, { recursive: true });
  await writeFile(settings, JSON.stringify(configuration(upstream)));
  const program = await startProgram(
    "LiteLLM (budget in memory)",
    [
      join(directory, "bin/litellm"),
      ...["--config", settings, "--host", "127.0.0.1", "--port", `${port}`],
      ...["--num_workers", "1", "--telemetry", "False"],
    ],
    {
      port,
      directory: home,
      readyPath: "/health/liveliness",
      environment: {
        PATH: `${join(directory, "bin")}:${process.env["PATH"] ?? ""}`,
        HOME: home,
        LITELLM_LOCAL_MODEL_COST_MAP: "True",
        LITELLM_LOG: "ERROR",
      },
    },
  );
  return { program, headers: { authorization: `Bearer ${MASTER_KEY}` } };
}

/** YAML takes JSON. */
function configuration(upstream: URL): object {
  return {
    model_list: [
      {
        model_name: "gpt-4o-mini",
        litellm_params: {
          model: "openai/gpt-4o-mini",
          api_base: `${upstream.origin}/v1`,
          api_key: "bench",
        },
      },
    ],
    general_settings: { master_key: MASTER_KEY },
    router_settings: {
      provider_budget_config: { openai: { budget_limit: 1_000_000_000, time_period: "30d" } },
    },
  };
}
