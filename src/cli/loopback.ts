/**
 * What runs on this machine is called directly, whatever proxy the environment names: Bun's `fetch`
 * would send even 127.0.0.1 through it.
 */
import { env } from "node:process";

const LOOPBACK = "127.0.0.1,localhost,[::1]";

/** For this process only, from here on. Other hosts still go through the proxy. */
export function callLoopbackDirectly(): void {
  for (const name of ["NO_PROXY", "no_proxy"]) {
    const present = env[name] ?? "";
    env[name] = present === "" ? LOOPBACK : `${present},${LOOPBACK}`;
  }
}
