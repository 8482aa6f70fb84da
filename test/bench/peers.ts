/**
 * Other gateways, each in a process of its own in front of the same upstream. What is not here is
 * skipped, loudly. Portkey's gateway is installed outside the repository; nginx comes from PATH.
 */
import { mkdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { probe, type Target } from "./calls.ts";
import { freePort, startProgram } from "./server.ts";

type Log = (line: string) => void;

const PORTKEY = "@portkey-ai/gateway@1.15.2";
const INSTALL_TIMEOUT_MS = 120_000;

export async function startPeers(
  upstream: URL,
  log: Log,
): Promise<{ targets: Target[]; skipped: string[] }> {
  const targets: Target[] = [];
  const skipped: string[] = [];
  const peers = [
    ["nginx", startNginx],
    ["Portkey", startPortkey],
  ] as const;
  for (const [name, start] of peers) {
    try {
      const target = await probe(await start(upstream));
      targets.push(target);
      if (!target.canStream) {
        throw new Error("answers no stream to its end, so only whole calls are measured");
      }
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      log(`SKIPPED: ${name}: ${reason}`);
      skipped.push(`${name}: ${reason}`);
    }
  }
  return { targets, skipped };
}

/** One worker, as every other program here has one event loop. */
async function startNginx(upstream: URL): Promise<Omit<Target, "canStream">> {
  const program = Bun.which("nginx");
  if (program === null) {
    throw new Error("not installed (Debian package nginx)");
  }
  const port = await freePort();
  const directory = join(tmpdir(), `spendra-bench-nginx-${port}`);
  await mkdir(directory, { recursive: true });
  await writeFile(join(directory, "nginx.conf"), nginxConfiguration(port, upstream, directory));
  const command = [program, "-p", directory, "-c", join(directory, "nginx.conf")];
  const started = await startProgram("nginx", command, { port, directory, readyPath: "/ready" });
  return {
    name: "nginx",
    port,
    headers: { authorization: "Bearer bench" },
    processIds: [started.processId],
  };
}

function nginxConfiguration(port: number, upstream: URL, directory: string): string {
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((kind) => `${kind}_temp_path ${directory}/${kind};`)
    .join("\n  ");
  return `daemon off;
user root;
worker_processes 1;
pid ${directory}/nginx.pid;
error_log ${directory}/error.log;
events { worker_connections 8192; }
http {
  access_log off;
  ${temporary}
  keepalive_requests 1000000000;
  upstream provider { server ${upstream.host}; keepalive 512; keepalive_requests 1000000000; }
  server {
    listen 127.0.0.1:${port};
    location = /ready { return 200; }
    location / {
      proxy_pass http://provider;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }
  }
}
`;
}

async function startPortkey(upstream: URL): Promise<Omit<Target, "canStream">> {
  const directory = join(tmpdir(), "spendra-bench-peers", "portkey");
  const entry = join(directory, "node_modules", "@portkey-ai", "gateway", "build/start-server.js");
  const node = Bun.which("node");
  if (node === null) {
    throw new Error("it needs Node.js, which is not installed");
  }
  if (!(await Bun.file(entry).exists())) {
    await installPortkey(directory);
  }
  const port = await freePort();
  const started = await startProgram("Portkey", [node, entry, `--port=${port}`, "--headless"], {
    port,
    environment: {
      PATH: process.env["PATH"] ?? "",
      NODE_ENV: "production",
      TRUSTED_CUSTOM_HOSTS: "127.0.0.1,localhost",
    },
  });
  return {
    name: "Portkey",
    port,
    headers: {
      authorization: "Bearer bench",
      "x-portkey-provider": "openai",
      "x-portkey-custom-host": `${upstream.origin}/v1`,
    },
    processIds: [started.processId],
  };
}

async function installPortkey(directory: string): Promise<void> {
  const npm = Bun.which("npm");
  if (npm === null) {
    throw new Error("it needs npm, which is not installed");
  }
  await mkdir(directory, { recursive: true });
  const install = ["install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", directory];
  const child = Bun.spawn([npm, ...install, PORTKEY], {
    stdout: "ignore",
    stderr: "ignore",
    timeout: INSTALL_TIMEOUT_MS,
  });
  if ((await child.exited) !== 0) {
    await rm(directory, { recursive: true, force: true });
    throw new Error(`npm could not install ${PORTKEY}`);
  }
}
