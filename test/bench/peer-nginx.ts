/** nginx from PATH: what a proxy costs that keeps no books. */
import { mkdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { requireProgram, type StartedPeer } from "./peer-program.ts";
import { freePort, startProgram } from "./server.ts";

/** One worker, as every other program here has one event loop. */
export async function startNginx(upstream: URL): Promise<StartedPeer> {
  const nginx = requireProgram("nginx");
  const port = await freePort();
  const directory = join(tmpdir(), `spendra-bench-nginx-${port}`);
  await mkdir(directory, { recursive: true });
  await writeFile(join(directory, "nginx.conf"), nginxConfiguration(port, upstream, directory));
  const command = [nginx, "-p", directory, "-c", join(directory, "nginx.conf")];
  const program = await startProgram("nginx", command, { port, directory, readyPath: "/ready" });
  return { program, headers: { authorization: "Bearer bench" } };
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
