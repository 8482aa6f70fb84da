/** Portkey's gateway, installed with npm. It keeps no books: its budgets are a hosted service. */
import { join } from "node:path";
import { installOnce, requireProgram, type StartedPeer } from "./peer-program.ts";
import { freePort, startProgram } from "./server.ts";

const PACKAGE = {
  private: true,
  dependencies: { "@portkey-ai/gateway": "1.15.2" },
  // With a newer one its streams fail on Node.js with `TypeError: immutable`: it changes the
  // headers of an answer that came from fetch (Portkey-AI/gateway#1389).
  overrides: { "@hono/node-server": "1.13.8" },
};

export async function startPortkey(upstream: URL): Promise<StartedPeer> {
  const node = requireProgram("node");
  const directory = await installOnce("portkey-1.15.2", () => [
    ["sh", "-c", 'printf %s "$1" > package.json', "sh", JSON.stringify(PACKAGE)],
    [requireProgram("npm"), "install", "--no-audit", "--no-fund", "--loglevel=error"],
  ]);
  const entry = join(directory, "node_modules/@portkey-ai/gateway/build/start-server.js");
  const port = await freePort();
  const program = await startProgram("Portkey", [node, entry, `--port=${port}`, "--headless"], {
    port,
    environment: {
      PATH: process.env["PATH"] ?? "",
      NODE_ENV: "production",
      TRUSTED_CUSTOM_HOSTS: "127.0.0.1,localhost",
    },
  });
  return {
    program,
    headers: {
      authorization: "Bearer bench",
      "x-portkey-provider": "openai",
      "x-portkey-custom-host": `${upstream.origin}/v1`,
    },
  };
}
