/**
 * Other gateways, each in a process of its own in front of the same upstream. What is not here is
 * skipped, loudly.
 */
import { probe, type Target } from "./calls.ts";
import type { Options } from "./options.ts";
import { startLiteLlm } from "./peer-litellm.ts";
import { startNginx } from "./peer-nginx.ts";
import { startPortkey } from "./peer-portkey.ts";
import type { StartedPeer } from "./peer-program.ts";
import type { Program } from "./server.ts";

export type Peer = { target: Target; program: Program };

type Log = (line: string) => void;

const here = [
  ["nginx", startNginx],
  ["Portkey", startPortkey],
] as const;
const all = [...here, ["LiteLLM", startLiteLlm], ["Bifrost", refuseBifrost]] as const;

export async function startPeers(
  choice: Options["peers"],
  upstream: URL,
  log: Log,
): Promise<{ peers: Peer[]; skipped: string[] }> {
  const peers: Peer[] = [];
  const skipped: string[] = [];
  for (const [name, start] of { none: [], here, all }[choice]) {
    log(`starting ${name}`);
    try {
      const { program, headers } = await start(upstream);
      const target = await probe({
        name: program.name,
        port: Number(new URL(program.url).port),
        headers,
        processIds: [program.processId],
      });
      peers.push({ target, program });
      if (!target.canStream) {
        throw new Error("answers no stream to its end, so only whole calls are measured");
      }
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      log(`SKIPPED: ${name}: ${reason}`);
      skipped.push(`${name}: ${reason}`);
    }
  }
  return { peers, skipped };
}

function refuseBifrost(): Promise<StartedPeer> {
  throw new Error(
    "not tried: its Go module could not be had, and its npm package holds no program, only a " +
      "downloader of one",
  );
}
